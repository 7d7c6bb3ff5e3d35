// Light, dark, or as the system says.

const KEY = "quorate-theme";
const ORDER = ["auto", "light", "dark"];

/// The present choice.
export function theme() {
  const kept = localStorage.getItem(KEY);
  return ORDER.includes(kept) ? kept : "auto";
}

/// Takes the next choice.
export function turnTheme() {
  const choice = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
  localStorage.setItem(KEY, choice);
  applyTheme();
}

/// Brings the page to the present choice.
export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}
