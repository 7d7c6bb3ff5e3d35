//! Tokens, roles, families and namespaces, as requests meet them.

use super::*;
use crate::domain::{Context, system::access::Command};

struct Case {
    keeper: Keeper,
    tokens: access::State,
    anonymous: Anonymous,
    text: String,
}

fn case(role: Role, family: Option<Family>, namespace: Option<&str>) -> Case {
    let keeper = Keeper::new("a secret", Some("the first key to the house"));
    let Fresh { text, id, digest } = keeper.make([7; 16], [9; 32]);
    let token = Token {
        id,
        digest,
        name: String::new(),
        role,
        family,
        namespace: namespace.map(str::to_owned),
        created_ms: 0,
        expires_ms: Some(100),
        created_by: String::new(),
    };
    let mut tokens = access::State::default();
    let context = Context { index: 1, term: 1, time_ms: 1, actor: "" };
    tokens.apply(&context, Command::CreateToken(Box::new(token))).unwrap();
    Case { keeper, tokens, anonymous: Anonymous::new(), text }
}

impl Case {
    fn ask(&self, bearer: Option<&str>, family: Family, request: &str, now_ms: u64) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        if let Some(bearer) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {bearer}")).unwrap();
            headers.insert(AUTHORIZATION, value);
        }
        let asked = (family, &method.parse().unwrap(), path);
        let access = (&self.keeper, &self.anonymous);
        match judge(access, &self.tokens, asked, &headers, now_ms) {
            Ok(who) => who.into_owned(),
            Err(Refusal::Unauthenticated(_)) => "401".to_owned(),
            Err(Refusal::Forbidden(_)) => "403".to_owned(),
            Err(other) => panic!("{other}"),
        }
    }

    fn with(&self, family: Family, request: &str) -> String {
        self.ask(Some(&self.text), family, request, 50)
    }
}

#[test]
fn a_token_opens_what_its_role_says() {
    let read = case(Role::Read, None, None);
    assert_eq!(read.with(Family::Kvrocks, "GET /api/v1/namespaces"), "token:0707070707070707");
    assert_eq!(read.with(Family::Kvrocks, "POST /api/v1/namespaces"), "403");
    assert_eq!(read.with(Family::Admin, "GET /quorate/v1/digest"), "token:0707070707070707");
    for guarded in ["tokens", "audit", "log", "backup/3", "backups/b", "kvrocks/export"] {
        assert_eq!(read.with(Family::Admin, &format!("GET /quorate/v1/{guarded}")), "403");
    }
    let check = "POST /api/v3/resources/failures/check";
    assert_ne!(read.with(Family::Undermoon, check), "403");
    let operate = case(Role::Operate, None, None);
    assert_ne!(operate.with(Family::Cello, "DELETE /v2/clusters/1"), "403");
    assert_ne!(operate.with(Family::Admin, "POST /quorate/v1/leader/transfer"), "403");
    assert_eq!(operate.with(Family::Admin, "POST /quorate/v1/tokens"), "403");
    assert_eq!(operate.with(Family::Admin, "POST /quorate/v1/whatever/comes"), "403");
    for (family, request) in [
        (Family::Admin, "POST /quorate/v1/members"),
        (Family::Admin, "DELETE /quorate/v1/members/2"),
        (Family::Kvrocks, "POST /api/v1/raft/peers"),
    ] {
        assert_eq!(operate.with(family, request), "403", "{request}");
    }
    let admin = case(Role::Admin, None, None);
    assert_ne!(admin.with(Family::Kvrocks, "POST /api/v1/raft/peers"), "403");
    assert_ne!(admin.with(Family::Admin, "POST /quorate/v1/tokens"), "403");
}

#[test]
fn a_token_stays_in_its_family_and_namespace() {
    let case = case(Role::Admin, Some(Family::Kvrocks), Some("shop"));
    assert_ne!(case.with(Family::Kvrocks, "GET /api/v1/namespaces/shop/clusters"), "403");
    assert_ne!(case.with(Family::Kvrocks, "DELETE /api/v1/namespaces/shop"), "403");
    for path in [
        "/api/v1/namespaces",
        "/api/v1/namespaces/shop2",
        "/api/v1/namespaces/sho%70/clusters",
        "/api/v1//namespaces/shop",
        "/api/v1/raft/peers",
        "/quorate/v1/kvrocks/settings",
    ] {
        assert_eq!(case.with(Family::Kvrocks, &format!("GET {path}")), "403", "{path}");
    }
    assert_eq!(case.with(Family::Undermoon, "GET /api/v3/metadata"), "403");
}

#[test]
fn what_is_no_token_opens_nothing() {
    let case = case(Role::Admin, None, None);
    let ask = |bearer: &str, now_ms| {
        case.ask(Some(bearer), Family::Admin, "GET /quorate/v1/digest", now_ms)
    };
    assert_eq!(ask(&case.text, 99), "token:0707070707070707");
    assert_eq!(ask(&case.text, 100), "401", "expired");
    let mut wrong = case.text.clone();
    wrong.pop();
    assert_eq!(ask(&wrong, 50), "401");
    assert_eq!(ask(&format!("{wrong}0"), 50), "401");
    assert_eq!(ask("qrt_0000000000000000_00", 50), "401");
    assert_eq!(ask("", 50), "401");
    assert_eq!(ask("the first key to the house", 50), "bootstrap");
    assert_eq!(ask("the first key to the hous", 50), "401");
    let elsewhere = Keeper::new("another secret", None).make([7; 16], [9; 32]);
    assert_eq!(elsewhere.text, case.text);
    assert_ne!(elsewhere.digest, case.tokens.get(&elsewhere.id).unwrap().digest);
}

#[test]
fn without_a_token_a_family_gives_what_it_gives_to_everybody() {
    let mut case = case(Role::Admin, None, None);
    case.anonymous =
        Anonymous::from([(Family::Kvrocks, Role::Operate), (Family::Admin, Role::Read)]);
    let ask = |family, request| case.ask(None, family, request, 50);
    assert_eq!(ask(Family::Kvrocks, "POST /api/v1/namespaces"), "anonymous");
    assert_eq!(ask(Family::Kvrocks, "GET /quorate/v1/kvrocks/export"), "401");
    assert_eq!(ask(Family::Undermoon, "GET /api/v3/epoch"), "401");
    assert_eq!(ask(Family::Admin, "GET /quorate/v1/digest"), "anonymous");
    assert_eq!(ask(Family::Admin, "POST /quorate/v1/tokens"), "401");
}
