//! Tables of what is found and what follows.
