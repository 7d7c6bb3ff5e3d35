//! Options about backups: where they are kept, when they are taken, which stay.

use std::{fs, path::PathBuf, time::Duration};

use super::{ConfigError, given, invalid, layer::Layer};
use crate::client::backups::{
    Keep,
    bucket::{BucketConfig, BucketKeys},
};

/// Where a replica keeps backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupPlace {
    /// In a directory.
    Dir(PathBuf),
    /// In a bucket.
    Bucket(BucketConfig),
}

/// When a replica takes backups by itself, and which it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSchedule {
    /// Between two of them.
    pub interval: Duration,
    /// Which are kept.
    pub keep: Keep,
}

/// One place, or none.
pub(super) fn place(layer: &Layer) -> Result<Option<BackupPlace>, ConfigError> {
    match (&layer.backup_dir, &layer.backup_bucket) {
        (Some(_), Some(_)) => Err(invalid("give backup_dir or backup_bucket")),
        (Some(dir), None) => Ok(Some(BackupPlace::Dir(dir.clone()))),
        (None, Some(url)) => Ok(Some(BackupPlace::Bucket(bucket(url, layer)?))),
        (None, None) if has_bucket_options(layer) => Err(invalid(
            "backup_endpoint, backup_ca and backup_credentials_file need backup_bucket",
        )),
        (None, None) => Ok(None),
    }
}

fn has_bucket_options(layer: &Layer) -> bool {
    layer.backup_endpoint.is_some()
        || layer.backup_ca.is_some()
        || layer.backup_credentials_file.is_some()
}

fn bucket(url: &str, layer: &Layer) -> Result<BucketConfig, ConfigError> {
    let path = url.strip_prefix("s3://").map(|path| path.split_once('/').unwrap_or((path, "")));
    let Some((bucket, prefix)) = path.filter(|(bucket, _)| is_bucket_name(bucket)) else {
        return Err(invalid(format!(
            "backup_bucket is s3://BUCKET or s3://BUCKET/PREFIX, not {url}"
        )));
    };
    let endpoint = layer.backup_endpoint.clone();
    if let Some(endpoint) = &endpoint
        && !(endpoint.starts_with("https://") || endpoint.starts_with("http://"))
    {
        return Err(invalid(format!(
            "backup_endpoint is a URL that begins with https:// or http://, not {endpoint}"
        )));
    }
    Ok(BucketConfig {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint,
        region: given(layer.backup_region.clone(), "backup_region")?,
        authorities: layer.backup_ca.clone(),
        keys: layer.backup_credentials_file.as_ref().map(keys).transpose()?,
    })
}

/// What stores allow, and what needs no care in a URL.
fn is_bucket_name(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
    (3..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A file of one line, `ACCESS_KEY_ID:SECRET_ACCESS_KEY`.
fn keys(path: &PathBuf) -> Result<BucketKeys, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    match text.trim().split_once(':') {
        Some((id, secret)) if is_plain(id) && is_plain(secret) => {
            Ok(BucketKeys { access_key_id: id.to_owned(), secret_access_key: secret.to_owned() })
        }
        _ => Err(invalid(format!(
            "{} holds one line, ACCESS_KEY_ID:SECRET_ACCESS_KEY",
            path.display()
        ))),
    }
}

/// Only with a place and an interval.
pub(super) fn schedule(layer: &Layer) -> Result<Option<BackupSchedule>, ConfigError> {
    let interval_s = given(layer.backup_interval_s, "backup_interval_s")?;
    if interval_s == 0 {
        return Ok(None);
    }
    if layer.backup_dir.is_none() && layer.backup_bucket.is_none() {
        return Err(invalid("backup_interval_s needs backup_dir or backup_bucket"));
    }
    let age_max_s = given(layer.backup_age_max_s, "backup_age_max_s")?;
    let count = usize::try_from(given(layer.backups_max, "backups_max")?);
    let keep = Keep {
        count: count.map_err(|_| invalid("backups_max is too large"))?,
        age_max: (age_max_s > 0).then(|| Duration::from_secs(age_max_s)),
    };
    Ok(Some(BackupSchedule { interval: Duration::from_secs(interval_s), keep }))
}
