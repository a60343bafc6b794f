/**
 * Everything that doctor can find, by area and level: the one list that findings, their order on the screen and
 * docs/doctor.md go by. What a code means and what mends it stands in the table of errors.
 *
 * An error keeps the agent from starting, keeps a table out, or lets regions differ; a warning is a risk to decide on; a
 * note is worth knowing and needs nothing.
 */
import type { ErrorCode } from '../../platform/errors.ts';

export type Severity = 'error' | 'warning' | 'info';

export const AREAS = {
  server: 'Server',
  role: 'Role',
  capture: 'Slot and publication',
  tables: 'Tables',
  sequences: 'Sequences',
  regions: 'Between regions',
  surroundings: 'Around the agent',
} as const;
export type Area = keyof typeof AREAS;

type Entry = { readonly area: Area; readonly title: string; readonly levels: readonly Severity[] };

const check = (area: Area, title: string, ...levels: readonly Severity[]): Entry => ({ area, title, levels });

export const CHECKS = {
  'SYN-P009': check('server', 'database unreachable', 'error'),
  'SYN-P008': check('server', 'login refused', 'error'),
  'SYN-P010': check('server', 'database missing', 'error'),
  'SYN-P016': check('server', 'no encrypted connection', 'error'),
  'SYN-P007': check('server', 'version not supported', 'error'),
  'SYN-P014': check('server', 'standby', 'error'),
  'SYN-P001': check('server', 'wal_level', 'error'),
  'SYN-P002': check('server', 'track_commit_timestamp', 'error'),
  'SYN-P003': check('server', 'slots, WAL senders, origins', 'error'),
  'SYN-P018': check('server', 'wal_sender_timeout', 'warning'),
  'SYN-P019': check('server', 'slots that expire', 'warning'),
  'SYN-P055': check('server', 'standbys that are waited for', 'error'),
  'SYN-P020': check('server', 'encoding', 'error', 'warning'),
  'SYN-P041': check('server', 'collation version', 'warning'),
  'SYN-P035': check('server', 'open prepared transaction', 'warning', 'info'),
  'SYN-P033': check('server', 'subscription to replicated tables', 'warning'),
  'SYN-P034': check('server', 'other slots, publications, origins', 'warning', 'info'),
  'SYN-P004': check('role', 'REPLICATION', 'error'),
  'SYN-P005': check('role', 'session_replication_role', 'error'),
  'SYN-P006': check('role', 'origin functions', 'error'),
  'SYN-P011': check('role', 'privileges', 'error'),
  'SYN-P029': check('role', 'read-only by default', 'error'),
  'SYN-P036': check('role', 'timeouts', 'warning'),
  'SYN-P037': check('role', 'connection limit, password expiry', 'error', 'warning'),
  'SYN-K001': check('capture', 'replication slot', 'error'),
  'SYN-K002': check('capture', 'publication', 'error'),
  'SYN-P030': check('tables', 'no table named', 'warning'),
  'SYN-P012': check('tables', 'no key', 'error'),
  'SYN-P013': check('tables', 'deferrable constraint', 'error'),
  'SYN-P058': check('tables', 'constraint of a partition alone', 'error'),
  'SYN-P017': check('tables', 'key type', 'error'),
  'SYN-P021': check('tables', 'unlogged', 'error'),
  'SYN-P024': check('tables', 'foreign table', 'error', 'warning'),
  'SYN-P031': check('tables', 'virtual generated column', 'error'),
  'SYN-P022': check('tables', 'trigger or rule on applied rows', 'error', 'warning'),
  'SYN-P023': check('tables', 'row security', 'error'),
  'SYN-P032': check('tables', 'large objects', 'warning'),
  'SYN-P038': check('tables', 'foreign keys', 'warning', 'info'),
  'SYN-P039': check('tables', 'inheritance', 'warning'),
  'SYN-P048': check('tables', 'very large rows', 'warning'),
  'SYN-P025': check('tables', 'replica identity is not FULL yet', 'info'),
  'SYN-P026': check('tables', 'other unique constraints', 'info'),
  'SYN-P027': check('tables', 'generated columns', 'info'),
  'SYN-P040': check('tables', 'materialized views', 'info'),
  'SYN-P028': check('sequences', 'same numbers in every region', 'warning', 'info'),
  'SYN-P046': check('sequences', 'shares that meet', 'error', 'warning'),
  'SYN-P042': check('regions', 'tables differ', 'error', 'warning'),
  'SYN-P043': check('regions', 'constraints differ', 'warning'),
  'SYN-P044': check('regions', 'servers differ', 'warning', 'info'),
  'SYN-P045': check('regions', 'clocks differ', 'error', 'warning'),
  'SYN-P160': check('regions', 'withheld columns differ', 'warning'),
  'SYN-P049': check('regions', 'not compared', 'info'),
  'SYN-L002': check('surroundings', 'folder of the log', 'error', 'warning'),
  'SYN-L060': check('surroundings', 'Kafka brokers', 'error', 'warning'),
  'SYN-L061': check('surroundings', 'login to Kafka', 'error', 'warning'),
  'SYN-L062': check('surroundings', 'rights in Kafka', 'error', 'warning'),
  'SYN-L063': check('surroundings', 'TLS with Kafka', 'error', 'warning'),
  'SYN-L064': check('surroundings', 'settings of topics', 'error', 'warning'),
  'SYN-L067': check('surroundings', 'version of Kafka', 'error', 'warning'),
  'SYN-L068': check('surroundings', 'topics cannot be created', 'error'),
  'SYN-K005': check('surroundings', 'agent is running', 'info'),
  'SYN-T006': check('surroundings', 'address of the API', 'error'),
  'SYN-T007': check('surroundings', 'peer does not answer', 'info'),
  'SYN-C007': check('surroundings', 'names of regions', 'error'),
  'SYN-C008': check('surroundings', 'no peers', 'warning'),
} as const satisfies Partial<Record<ErrorCode, Entry>>;

export type CheckCode = keyof typeof CHECKS;

export const isCheckCode = (code: ErrorCode): code is CheckCode => Object.hasOwn(CHECKS, code);
