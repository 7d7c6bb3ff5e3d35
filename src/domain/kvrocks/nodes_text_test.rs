//! Texts of real nodes, and texts that are none.

use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
const D: &str = "dddddddddddddddddddddddddddddddddddddddd";

#[test]
fn a_cluster_is_read_with_its_roles_slots_and_running_migration() {
    let text = format!(
        "{D} 127.0.0.1:7773@17773 slave,fail {B} 1 2 9 connected\n\
         {C} 127.0.0.1:7772@17772 slave {A} 1 2 9 connected\n\
         {B} 127.0.0.1:7771@17771 master - 1 2 9 connected 8192-16383\n\
         {A} 127.0.0.1:7770@17770 myself,master - 1 2 9 connected 0-4 5-8191 [5->-{B}]\n"
    );
    let topology = parse(&text).unwrap();
    assert_eq!(topology.version, 9);
    assert_eq!(topology.shards.len(), 2);
    let first = &topology.shards[0];
    assert_eq!((first.master.id.as_str(), first.master.addr.as_str()), (A, "127.0.0.1:7770"));
    assert_eq!(first.slots, ["0-8191".parse().unwrap()]);
    assert_eq!(first.migrating, Some(("5".parse().unwrap(), B.to_owned())));
    assert_eq!(first.replicas[0].id, C);
    assert!(topology.shards[1].replicas[0].is_failed);
    assert_eq!(topology.shards[1].migrating, None);
}

#[test]
fn masters_without_slots_come_last_and_imports_are_skipped() {
    let text = format!(
        "{A} h:1@10001 myself,master - 1 2 3 connected\n\
         {B} h:2@10002 master - 1 2 3 connected 0-16383 [7-<-{A}]"
    );
    let topology = parse(&text).unwrap();
    assert_eq!(topology.shards[0].master.id, B);
    assert!(topology.shards[1].slots.is_empty());
}

#[test]
fn texts_that_are_no_topology_are_refused() {
    let line = |flags: &str, master: &str| format!("{A} h:1@2 {flags} {master} 1 2 3 connected");
    for (text, expected) in [
        (String::new(), NodesTextError::Empty),
        ("a b c".to_owned(), NodesTextError::Line("a b c".to_owned())),
        (line("handshake", "-"), NodesTextError::Role("handshake".to_owned())),
        (
            line("slave", B),
            NodesTextError::UnknownMaster { node: A.to_owned(), master: B.to_owned() },
        ),
        (format!("{A} h:1@2 master - 1 2 x connected"), NodesTextError::Epoch("x".to_owned())),
        ("a h:1@2 master - 1 2 3 connected".to_owned(), NodesTextError::NodeId("a".to_owned())),
        (format!("{} 9-1", line("master", "-")), NodesTextError::Slots(SlotError::Reversed)),
    ] {
        assert_eq!(parse(&text), Err(expected), "{text}");
    }
}
