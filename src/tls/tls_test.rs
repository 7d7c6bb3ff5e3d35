//! Certificates from files, good ones and others.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for loopback and its key.
fn issue(dir: &TempDir, name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> Files {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = params.signed_by(&key, authority).unwrap();
    let path = |kind: &str| dir.path().join(format!("{name}.{kind}"));
    fs::write(path("pem"), cert.pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    fs::write(path("ca"), authority.pem()).unwrap();
    Files { cert: path("pem"), key: path("key"), ca: Some(path("ca")) }
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let files = issue(&dir, "a", &authority);
    let tls = Tls::load(Some(files.clone()), Some(files.clone())).unwrap();
    let first = tls.clients.as_ref().unwrap().present();
    let other = issue(&dir, "b", &authority);
    fs::copy(&other.key, &files.key).unwrap();
    let refused = tls.reload().unwrap_err();
    assert!(matches!(refused, TlsError::Unusable { .. }), "{refused:?}");
    fs::write(&files.cert, "no certificate").unwrap();
    let refused = tls.reload().unwrap_err();
    assert!(refused.to_string().contains("a.pem holds no certificate"), "{refused}");
    assert!(Arc::ptr_eq(&first, &tls.clients.as_ref().unwrap().present()));
    fs::copy(&other.cert, &files.cert).unwrap();
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&first, &tls.clients.as_ref().unwrap().present()));
}

#[test]
fn the_first_end_of_all_certificates_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let files = issue(&dir, "a", &authority());
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let key = KeyPair::generate().unwrap();
    let early = params.self_signed(&key).unwrap().pem();
    let ca = fs::read_to_string(files.ca.as_ref().unwrap()).unwrap();
    let tls = Tls::load(Some(files.clone()), None).unwrap();
    let [("clients", end_s)] = tls.expiries()[..] else { panic!("{:?}", tls.expiries()) };
    assert!(end_s > 4_000_000_000, "{end_s}");
    fs::write(files.ca.as_ref().unwrap(), format!("{ca}{early}")).unwrap();
    assert_eq!(tls.expiries(), [("clients", 1_927_843_200)]);
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let files = issue(&dir, "a", &authority());
    fs::remove_file(&files.key).unwrap();
    let refused = Tls::load(Some(files), None).unwrap_err();
    assert!(refused.to_string().contains("a.key holds no private key"), "{refused}");
}
