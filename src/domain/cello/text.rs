//! Judges and completes the texts of hosts and clusters.

use super::{
    Rejection,
    model::{LogType, SYSTEM_PREFIX},
};

/// Longest display name and user, characters.
const NAME_CHARS_MAX: usize = 128;
/// Longest address or URL, bytes.
const ADDRESS_BYTES_MAX: usize = 255;
/// Longest text that is kept of a failure, bytes.
const REASON_BYTES_MAX: usize = 512;
/// Log levels that hosts may pass on.
const LOG_LEVELS: [&str; 6] = ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];

/// Judges a display name.
pub(super) fn judge_name(name: &str) -> Result<(), Rejection> {
    let is_long = name.chars().count() > NAME_CHARS_MAX;
    if name.is_empty() || is_long || name.chars().any(char::is_control) {
        return Err(Rejection::InvalidName);
    }
    Ok(())
}

/// Judges a user: the pool's own owners are not among them.
pub(super) fn judge_user(user_id: &str) -> Result<(), Rejection> {
    let is_long = user_id.chars().count() > NAME_CHARS_MAX;
    if user_id.is_empty() || is_long || user_id.starts_with(SYSTEM_PREFIX) {
        return Err(Rejection::InvalidUser);
    }
    Ok(())
}

/// A daemon URL with its scheme (spec 1.1): `tcp://ADDRESS:PORT` or `unix:///PATH`.
pub(super) fn daemon_url(url: &str) -> Result<String, Rejection> {
    let invalid =
        || Rejection::InvalidHost("daemon_url is tcp://ADDRESS:PORT or unix:///PATH".to_owned());
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if url.is_empty() || url.len() > ADDRESS_BYTES_MAX || !is_plain {
        return Err(invalid());
    }
    if let Some(path) = url.strip_prefix("unix://") {
        return if path.len() > 1 && path.starts_with('/') {
            Ok(url.to_owned())
        } else {
            Err(invalid())
        };
    }
    let rest = url.strip_prefix("tcp://").unwrap_or(url);
    let (address, port) = rest.split_once(':').ok_or_else(invalid)?;
    let is_digits = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = is_digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    if !is_address(address) || !is_port {
        return Err(invalid());
    }
    // One daemon in several spellings would be several hosts.
    Ok(format!("tcp://{}", rest.to_ascii_lowercase()))
}

/// The address of published ports: the one given, else the one in the URL.
pub(super) fn service_address(given: &str, daemon_url: &str) -> Result<String, Rejection> {
    match given {
        "" => Ok(super::model::address_of(daemon_url)),
        given if is_address(given) && given.len() <= ADDRESS_BYTES_MAX => Ok(given.to_owned()),
        _ => Err(Rejection::InvalidHost("service_ip is an address or a host name".to_owned())),
    }
}

fn is_address(address: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !address.is_empty() && address.bytes().all(is_allowed)
}

/// A log level; the most talkative if none is given.
pub(super) fn log_level(level: &str) -> Result<String, Rejection> {
    match level {
        "" => Ok(LOG_LEVELS[0].to_owned()),
        level if LOG_LEVELS.contains(&level) => Ok(level.to_owned()),
        _ => Err(Rejection::InvalidHost(format!("log_level is one of {}", LOG_LEVELS.join(", ")))),
    }
}

/// A syslog server with its scheme; none for local logs.
pub(super) fn log_server(log_type: LogType, server: &str) -> Result<String, Rejection> {
    if log_type == LogType::Local {
        return Ok(String::new());
    }
    let is_plain = server.bytes().all(|byte| byte.is_ascii_graphic());
    if server.is_empty() || server.len() > ADDRESS_BYTES_MAX || !is_plain {
        return Err(Rejection::InvalidHost("syslog needs a log_server".to_owned()));
    }
    match server.contains("://") {
        true => Ok(server.to_owned()),
        false => Ok(format!("udp://{server}")),
    }
}

/// Shortens a reason to what the state keeps of it.
pub(super) fn cut(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or_default());
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_urls_get_their_scheme() {
        for (given, expected) in [
            ("192.168.7.62:2375", Some("tcp://192.168.7.62:2375")),
            ("tcp://192.168.7.62:2375", Some("tcp://192.168.7.62:2375")),
            ("docker-1.lan:1", Some("tcp://docker-1.lan:1")),
            ("unix:///run/docker.sock", Some("unix:///run/docker.sock")),
            ("unix://run", None),
            ("unix:///", None),
            ("tcp://a", None),
            ("tcp://:1", None),
            ("tcp://a:", None),
            ("tcp://a:0", None),
            ("tcp://a:65536", None),
            ("tcp://a:+1", None),
            ("tcp://::1:2375", None),
            ("http://a:1", None),
            ("tcp://a:1/x", None),
            ("tcp://a b:1", None),
            ("", None),
        ] {
            assert_eq!(daemon_url(given).ok().as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn the_service_address_is_the_one_of_the_url_unless_given() {
        assert_eq!(service_address("", "tcp://10.0.0.1:2375").unwrap(), "10.0.0.1");
        assert_eq!(service_address("", "unix:///run/docker.sock").unwrap(), "127.0.0.1");
        assert_eq!(service_address("pool.lan", "tcp://10.0.0.1:2375").unwrap(), "pool.lan");
        assert!(service_address("http://pool", "tcp://10.0.0.1:2375").is_err());
    }

    #[test]
    fn users_are_short_and_never_the_pool_itself() {
        for (user, expected) in [
            ("u", true),
            ("ü x\n", true),
            (&*"é".repeat(128), true),
            (&*"é".repeat(129), false),
            ("", false),
            ("__SYSTEM__", false),
            ("__SYSTEM__CREATING", false),
            ("__system__", true),
        ] {
            assert_eq!(judge_user(user).is_ok(), expected, "{user:?}");
        }
    }

    #[test]
    fn logs_go_where_the_original_sends_them() {
        assert_eq!(log_server(LogType::Local, "x").unwrap(), "");
        assert_eq!(log_server(LogType::Syslog, "1.2.3.4:514").unwrap(), "udp://1.2.3.4:514");
        assert_eq!(log_server(LogType::Syslog, "tcp://a:1").unwrap(), "tcp://a:1");
        assert!(log_server(LogType::Syslog, "").is_err());
        assert_eq!(log_level("").unwrap(), "DEBUG");
        assert!(log_level("debug").is_err());
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(cut("é".repeat(300)).len(), 512);
        assert_eq!(cut(format!("a{}", "é".repeat(300))).len(), 511);
    }
}
