//! Every metric of this crate.
//!
//! Names have the unit last and counters end with `_total`. Labels have few values, all of them
//! known: never an address, never what a client sends.

use crate::broker::engine::metric_table;

metric_table! {
    /// Every metric of this crate, in the order of the documentation.
    pub static METRICS, pub const;

    BUILD_INFO: Gauge "1" "quorate_build_info" [version =]
        "Always 1; the label says which release runs.";
    IS_LEADER: Gauge "0 or 1" "quorate_is_leader" [] "Whether this replica leads.";
    IS_READY: Gauge "0 or 1" "quorate_is_ready" [] "Whether clients should be sent here.";
    TERM: Gauge "terms" "quorate_term" [] "The present term.";
    LAST_LOG_INDEX: Gauge "entries" "quorate_last_log_index" [] "Last index in the log.";
    COMMIT_INDEX: Gauge "entries" "quorate_commit_index" [] "Last index known to be committed.";
    APPLIED_INDEX: Gauge "entries" "quorate_applied_index" [] "Last index applied here.";
    SNAPSHOT_INDEX: Gauge "entries" "quorate_snapshot_index" []
        "Last index covered by a snapshot.";
    LOG_ENTRIES: Gauge "entries" "quorate_log_entries" []
        "Entries in the log, those that a snapshot covers too until they are removed.";
    STATE_AGE_SECONDS: Gauge "seconds" "quorate_state_age_seconds" []
        "Since this replica last knew its state to be current; +Inf if it never did.";
    PEER_LAG_ENTRIES: Gauge "entries" "quorate_peer_lag_entries" [replica =]
        "On the leader: what each other member lacks of the log. NaN on the others, and for members that left.";
    PEER_SILENCE_SECONDS: Gauge "seconds" "quorate_peer_silence_seconds" [replica =]
        "On the leader: since each other member last answered; +Inf if it never did. NaN as above.";

    PROPOSALS_TOTAL: Counter "proposals" "quorate_proposals_total"
        [family = "undermoon" | "kvrocks" | "cello" | "system" | "access",
         outcome = "done" | "refused" | "not_accepted" | "unknown" | "invalid"]
        "Commands proposed by this replica for clients and for its own loops. `refused` by the state; `not_accepted`: nothing happened, retry; `unknown`: it may have happened.";
    PROPOSAL_SECONDS: Histogram "seconds" "quorate_proposal_seconds"
        [family = "undermoon" | "kvrocks" | "cello" | "system" | "access"]
        "From a proposal to its answer, forwarding, commit and application here included.";
    REQUESTS_TOTAL: Counter "requests" "quorate_requests_total"
        [family = "undermoon" | "kvrocks" | "cello" | "admin" | "none",
         kind = "read" | "change",
         status = "2xx" | "3xx" | "4xx" | "5xx"]
        "Answers to clients, by family and class of status.";
    REQUEST_SECONDS: Histogram "seconds" "quorate_request_seconds"
        [family = "undermoon" | "kvrocks" | "cello" | "admin" | "none", kind = "read" | "change"]
        "From a request to the head of its answer. Calls that wait for something, such as long polls of the change feed, count with their waiting.";
    REQUESTS_IN_FLIGHT: Gauge "requests" "quorate_requests_in_flight" []
        "Requests of clients that are not answered yet.";
    ACCESS_REFUSALS_TOTAL: Counter "requests" "quorate_access_refusals_total"
        [outcome = "unauthenticated" | "forbidden" | "too_fast" | "busy"]
        "Requests refused because of who sent them, or how often.";
    CLIENT_CONNECTIONS: Gauge "connections" "quorate_client_connections" []
        "Open connections of clients.";
    CLIENT_CONNECTIONS_TOTAL: Counter "connections" "quorate_client_connections_total" []
        "Connections of clients since the start.";
    EVENT_READERS: Gauge "readers" "quorate_event_readers" [] "Readers of the change feed.";
    EVENT_READERS_CUT_TOTAL: Counter "readers" "quorate_event_readers_cut_total" []
        "Readers of the change feed that were cut off because they fell behind what is kept.";

    DATA_BYTES: Gauge "bytes" "quorate_data_bytes" []
        "Size of the data directory: log, metadata and snapshots.";
    DISK_FREE_BYTES: Gauge "bytes" "quorate_disk_free_bytes" []
        "What the process may still write on the disk of the data directory.";
    DISK_BYTES: Gauge "bytes" "quorate_disk_bytes" [] "Size of the disk of the data directory.";
    AUDIT_RECORDS: Gauge "records" "quorate_audit_records" [] "Records of the audit trail.";
    SECRETS: Gauge "secrets" "quorate_secrets" [form = "sealed" | "readable" | "missing_key"]
        "Passwords in the state; `missing_key`: the sealed ones that this replica cannot open.";
    BACKUPS_TOTAL: Counter "backups" "quorate_backups_total" [outcome = "ok" | "failed"]
        "Scheduled backups of this replica.";
    BACKUP_TAKEN_TIME_SECONDS: Gauge "seconds" "quorate_backup_taken_time_seconds" []
        "When the newest backup in this replica's directory or bucket was taken, since the Unix epoch; absent if there is none.";
    BACKUP_INTERVAL_SECONDS: Gauge "seconds" "quorate_backup_interval_seconds" []
        "Time between two scheduled backups; absent without a schedule.";

    TLS_HANDSHAKES_TOTAL: Counter "handshakes" "quorate_tls_handshakes_total"
        [outcome = "done" | "failed"]
        "Handshakes on client ports.";
    TLS_RELOADS_TOTAL: Counter "loads" "quorate_tls_reloads_total" [outcome = "ok" | "failed"]
        "Times that changed certificates were loaded.";
    TLS_FILES_BAD: Gauge "0 or 1" "quorate_tls_files_bad" []
        "1 if the files of certificates cannot be used and former ones are in use; absent without TLS.";
    TLS_EXPIRY_TIME_SECONDS: Gauge "seconds" "quorate_tls_expiry_time_seconds"
        [port = "clients" | "peers"]
        "When the first certificate in use ends, authorities included, since the Unix epoch; absent without TLS.";

    UNDERMOON_CLUSTERS: Gauge "clusters" "quorate_undermoon_clusters" []
        "Clusters of server proxies.";
    UNDERMOON_PROXIES: Gauge "proxies" "quorate_undermoon_proxies"
        [status = "free" | "used" | "failed" | "suspected"]
        "Registered server proxies; `failed` and `suspected` (reported, not failed yet) come before `used`.";
    UNDERMOON_MIGRATIONS: Gauge "migrations" "quorate_undermoon_migrations" []
        "Migrations of slots that are not committed yet.";

    KVROCKS_CLUSTERS: Gauge "clusters" "quorate_kvrocks_clusters" [] "Kvrocks clusters.";
    KVROCKS_NODES: Gauge "nodes" "quorate_kvrocks_nodes" []
        "Kvrocks nodes that this replica probes.";
    KVROCKS_NODES_SILENT: Gauge "nodes" "quorate_kvrocks_nodes_silent" []
        "Kvrocks nodes that did not answer the last probe.";
    KVROCKS_PROBE_CYCLE_SECONDS: Histogram "seconds" "quorate_kvrocks_probe_cycle_seconds" []
        "One probe of all Kvrocks nodes.";
    KVROCKS_PUSHES_TOTAL: Counter "pushes" "quorate_kvrocks_pushes_total"
        [outcome = "ok" | "failed"]
        "Pushes of a topology to a Kvrocks node.";
    KVROCKS_FAILOVERS_TOTAL: Counter "failovers" "quorate_kvrocks_failovers_total"
        [outcome = "done" | "refused"]
        "Automatic failovers of Kvrocks masters; `refused`: a dead master without a successor.";
    KVROCKS_MIGRATIONS_TOTAL: Counter "attempts" "quorate_kvrocks_migrations_total"
        [outcome = "moved" | "failed" | "refused" | "cancelled"]
        "Attempts to migrate slots that ended.";
    KVROCKS_ADOPTIONS_TOTAL: Counter "topologies" "quorate_kvrocks_adoptions_total"
        [outcome = "adopted" | "refused"]
        "Topologies of Kvrocks nodes that were newer than the record.";
    KVROCKS_REQUEST_LATENCY: Histogram "milliseconds" "kvrocks_controller_request_latency"
        [host =, uri =, method =, code =]
        "Answers of the Kvrocks family, named as by the original. `host` is always `-`, `uri` a route pattern.";
    KVROCKS_HTTP_CODE: Counter "answers" "kvrocks_controller_http_code"
        [host =, uri =, method =, code =]
        "Answers of the Kvrocks family, named as by the original.";
    KVROCKS_HTTP_PAYLOAD: Counter "bytes" "kvrocks_controller_http_payload"
        [host =, uri =, method =, code =]
        "Bytes of answers of the Kvrocks family, named as by the original.";

    POOL_HOSTS: Gauge "hosts" "quorate_pool_hosts" [status = "active" | "inactive"]
        "Hosts of the pool, by whether their daemon answers.";
    POOL_CAPACITY_CLUSTERS: Gauge "clusters" "quorate_pool_capacity_clusters" []
        "Clusters that hosts which are filled automatically should have together.";
    POOL_CLUSTERS: Gauge "clusters" "quorate_pool_clusters"
        [phase = "creating" | "free" | "used" | "deleting" | "resetting"]
        "Clusters of the pool.";
    POOL_CLUSTERS_AVAILABLE: Gauge "clusters" "quorate_pool_clusters_available" []
        "Free clusters that could be given to a user at once.";
    POOL_CLUSTERS_UNHEALTHY: Gauge "clusters" "quorate_pool_clusters_unhealthy" []
        "Clusters whose last probe was bad.";
    POOL_TASKS: Gauge "tasks" "quorate_pool_tasks" []
        "Things to be done on hosts, those that wait for their next try among them.";
    POOL_EFFECTS_TOTAL: Counter "effects" "quorate_pool_effects_total"
        [kind = "create" | "start" | "stop" | "restart" | "destroy" | "reset host" | "clean up host",
         outcome = "done" | "failed" | "unreachable" | "superseded"]
        "What the leader carried out on hosts.";

    GATEWAY_REQUESTS_TOTAL: Counter "requests" "quorate_gateway_requests_total"
        [outcome = "answered" | "busy" | "body_too_large" | "body_slow" | "body_broken"
            | "no_replica" | "broken" | "late" | "unknown"]
        "Requests to the gateway: answered by a replica, or why the gateway refused.";
    GATEWAY_REQUEST_SECONDS: Histogram "seconds" "quorate_gateway_request_seconds" []
        "From the head of a request to the gateway to the head of its answer.";
    GATEWAY_RETRIES_TOTAL: Counter "requests" "quorate_gateway_retries_total"
        [reason = "unsent" | "lost" | "refused"]
        "Requests that the gateway sent again.";
    GATEWAY_MOVES_TOTAL: Counter "changes" "quorate_gateway_moves_total" []
        "Changes of the replica that the gateway uses.";
    GATEWAY_ENDPOINTS: Gauge "replicas" "quorate_gateway_endpoints" []
        "Replicas that the gateway knows.";
    GATEWAY_ENDPOINTS_READY: Gauge "replicas" "quorate_gateway_endpoints_ready" []
        "Replicas that told the gateway they are ready.";

    PROCESS_CPU_SECONDS_TOTAL: Counter "seconds" "process_cpu_seconds_total" []
        "Processor time of the process, user and system.";
    PROCESS_OPEN_FDS: Gauge "descriptors" "process_open_fds" [] "Open file descriptors.";
    PROCESS_MAX_FDS: Gauge "descriptors" "process_max_fds" [] "Most file descriptors allowed.";
    PROCESS_RESIDENT_MEMORY_BYTES: Gauge "bytes" "process_resident_memory_bytes" []
        "Memory in use.";
    PROCESS_VIRTUAL_MEMORY_BYTES: Gauge "bytes" "process_virtual_memory_bytes" []
        "Memory mapped.";
    PROCESS_VIRTUAL_MEMORY_MAX_BYTES: Gauge "bytes" "process_virtual_memory_max_bytes" []
        "Most memory that may be mapped.";
    PROCESS_START_TIME_SECONDS: Gauge "seconds" "process_start_time_seconds" []
        "When the process began, since the Unix epoch.";
    PROCESS_THREADS: Gauge "threads" "process_threads" [] "Threads of the process.";
}
