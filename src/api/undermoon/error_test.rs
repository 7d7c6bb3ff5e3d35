//! Status, code and body of every refusal, in both profiles.

use http_body_util::BodyExt;

use super::*;

const PROGRAM: Dialect = Dialect { generation: Generation::V3, profile: Profile::Program };
const DOCUMENT: Dialect = Dialect { generation: Generation::V2, profile: Profile::Document };

async fn check(failure: Failure, dialect: Dialect, expected: &str) {
    let response = respond(&failure, dialect);
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let found = format!("{status} {}", String::from_utf8(body.to_vec()).unwrap());
    assert_eq!(found, expected, "{failure:?}");
}

fn rejected(rejection: Rejection) -> Failure {
    Failure::Rejected(rejection, Operation::Other)
}

fn bad_config() -> Rejection {
    Rejection::InvalidConfig {
        field: "x".to_owned(),
        value: "y".to_owned(),
        reason: ConfigFault::FieldNotFound,
    }
}

#[tokio::test]
async fn refusals_look_as_in_the_programs() {
    for (rejection, expected) in [
        (Rejection::InUse, "409 {\"error\":\"IN_USE\"}"),
        (Rejection::ClusterNotFound, "404 {\"error\":\"CLUSTER_NOT_FOUND\"}"),
        (Rejection::FreeNodeNotFound, "404 {\"error\":\"FREE_NODE_NOT_FOUND\"}"),
        (Rejection::SlotsAlreadyEven, "400 {\"error\":\"SLOTS_ALREADY_EVEN\"}"),
        (Rejection::FreeNodeFound, "409 {\"error\":\"FREE_NODE_FOUND\"}"),
        (Rejection::NodeNumberChanging, "409 {\"error\":\"NODE_NUMBER_CHANGING\"}"),
        (
            bad_config(),
            "400 {\"error\":\"INVALID_CONFIG\",\"key\":\"x\",\"value\":\"y\",\
             \"message\":\"FIELD_NOT_FOUND\"}",
        ),
        (
            Rejection::InvalidMetadata("slot 3 has 2 owners".to_owned()),
            "400 {\"error\":\"INVALID_METADATA\",\"message\":\"slot 3 has 2 owners\"}",
        ),
    ] {
        check(rejected(rejection), PROGRAM, expected).await;
    }
}

#[tokio::test]
async fn the_documents_name_some_refusals_otherwise() {
    let expand = Failure::Rejected(Rejection::SlotsAlreadyEven, Operation::Expand);
    check(expand, DOCUMENT, "409 {\"error\":\"FreeNodeFound\"}").await;
    let shrink = Failure::Rejected(Rejection::FreeNodeFound, Operation::Shrink);
    check(shrink, DOCUMENT, "409 {\"error\":\"SLOTS_ALREADY_EVEN\"}").await;
    let free = rejected(Rejection::FreeNodeNotFound);
    check(free, DOCUMENT, "409 {\"error\":\"FREE_NODE_NOT_FOUND\"}").await;
    let config = "409 {\"error\":\"INVALID_CONFIG\",\"key\":\"x\",\"value\":\"y\",\
                  \"message\":\"FIELD_NOT_FOUND\"}";
    check(rejected(bad_config()), DOCUMENT, config).await;
    let same = rejected(Rejection::ClusterNotFound);
    check(same, DOCUMENT, "404 {\"error\":\"CLUSTER_NOT_FOUND\"}").await;
}

#[tokio::test]
async fn a_log_that_did_not_take_it_says_what_is_known() {
    let refused = ProposeError::NotAccepted { reason: "no leader", retry_after_ms: 1200 };
    let response = respond(&refused.into(), PROGRAM);
    assert_eq!(response.headers()[RETRY_AFTER], "2");
    let refused = ProposeError::NotAccepted { reason: "no leader", retry_after_ms: 0 };
    check(refused.into(), PROGRAM, "409 {\"error\":\"RETRY\"}").await;
    let unknown = ProposeError::Unknown { reason: "timeout".to_owned() };
    check(unknown.into(), DOCUMENT, "504 {\"error\":\"EXTERNAL_TIMEOUT\"}").await;
    check(Failure::NotVisible, PROGRAM, "504 {\"error\":\"EXTERNAL_TIMEOUT\"}").await;
    for read in [
        ReadError::NotReady,
        ReadError::Stale { age_ms: 9000 },
        ReadError::Timeout { reason: "barrier" },
    ] {
        check(read.into(), PROGRAM, "504 {\"error\":\"EXTERNAL_TIMEOUT\"}").await;
    }
}

#[tokio::test]
async fn malformed_requests_are_the_callers_fault() {
    let reuse = respond(&ProposeError::RequestIdReused.into(), PROGRAM);
    assert_eq!(reuse.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let json = Failure::Json("EOF".to_owned());
    let expected = "400 {\"error\":\"INVALID_REQUEST\",\"message\":\"EOF\"}";
    check(json, PROGRAM, expected).await;
    for (refusal, status) in [
        (Refusal::BodyTooLarge(5), 413),
        (Refusal::BodySlow, 408),
        (Refusal::BodyBroken("reset".to_owned()), 400),
        (Refusal::BadHeader("what".to_owned()), 400),
        (Refusal::Busy, 503),
    ] {
        assert_eq!(respond(&refusal.into(), PROGRAM).status(), status);
    }
    assert_eq!(respond(&Failure::NoRoute, PROGRAM).status(), 405);
    assert_eq!(respond(&Failure::NoRoute, DOCUMENT).status(), 404);
    assert_eq!(respond(&Failure::MediaType, PROGRAM).status(), 415);
}
