// The links that end in this region, kept in its database: policy, paused or active, and how far each
// is acknowledged. The target owns a link, so no other agent ever writes these rows.
//
// The links are the full mesh of the configured peers. A link that is new is created active;
// one that is known keeps what an operator set, so a paused link stays paused through restarts. The
// link of a peer that left the configuration is decommissioned, and comes back to life with the peer.
//
// Acknowledgements come with every batch and are for people and trimming to read: where apply resumes
// is the mark that it commits with the rows. So they are written at a bounded rate, the newest of each
// link, and losing the last moment of them in a crash costs nothing.

import type { IneffectivePolicy, LinkPolicy } from '../monitor/agent-status.ts';
import { fail } from '../platform/errors.ts';
import { arrayText, type TextRow, type TextValue } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';

/** A link as it is stored; `degraded` is a state of the running agent and is not. */
export type StoredLink = LinkPolicy & {
  readonly link_id: string;
  readonly source_region: string;
  readonly target_region: string;
  readonly status: 'active' | 'paused';
  readonly last_acked_event_id: string | null;
  readonly updated_at: string;
};

export type LinkPatch = { readonly status?: 'paused' | 'active' } & Partial<LinkPolicy>;

export type LinkStoreOptions = {
  readonly flushIntervalMs?: number;
  /** Told of acknowledgements that could not be written; they are written with the next ones. */
  readonly onFlushError?: (error: unknown) => void;
};

export const LAG_SLO_MS_DEFAULT = 10_000;
const FLUSH_INTERVAL_MS = 1_000;

const COLUMNS = `link_id, source_region, target_region, status, last_acked_event_id, mode, lag_slo_ms,
  bandwidth_limit_bytes_per_s, failover_priority, tables, allow_drift_ms,
  to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at`;

/** `source:target`. Names of regions have no colon. */
export const linkId = (source: string, target: string): string => `${source}:${target}`;

export class LinkStore implements AsyncDisposable {
  readonly #database: Queryable;
  readonly #region: string;
  readonly #options: LinkStoreOptions;
  #peers: readonly string[] = [];
  #links = new Map<string, StoredLink>();
  #unwritten = new Map<string, string>();
  #flushing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(database: Queryable, region: string, options: LinkStoreOptions = {}) {
    this.#database = database;
    this.#region = region;
    this.#options = options;
  }

  /** Creates what is missing and reads what is there. */
  async open(peers: readonly string[]): Promise<readonly StoredLink[]> {
    this.#peers = peers;
    const values = [this.#region, arrayText(peers), String(LAG_SLO_MS_DEFAULT)];
    await this.#database.query(
      `insert into syncline.link as l (link_id, source_region, target_region, lag_slo_ms)
       select peer || ':' || $1, peer, $1, $3::bigint from unnest($2::text[]) as peer
       on conflict (link_id) do update set status = 'active', updated_at = clock_timestamp()
        where l.status = 'decommissioned'`,
      values,
    );
    await this.#database.query(
      `update syncline.link set status = 'decommissioned', updated_at = clock_timestamp()
        where source_region <> all ($1::text[]) and status <> 'decommissioned'`,
      [arrayText(peers)],
    );
    const { rows } = await this.#database.query(
      `select ${COLUMNS} from syncline.link where source_region = any ($1::text[]) order by link_id`,
      [arrayText(peers)],
    );
    this.#links = new Map(rows.map((row) => [String(row.link_id), toLink(row)]));
    return this.links;
  }

  get links(): readonly StoredLink[] {
    return [...this.#links.values()];
  }

  /** SYN-T002 for a link that ends in another region, SYN-T001 for one that does not exist. */
  link(id: string): StoredLink {
    const link = this.#links.get(id);
    if (link !== undefined) return link;
    const [source = '', target = '', ...rest] = id.split(':');
    const isRegion = (name: string): boolean => name === this.#region || this.#peers.includes(name);
    if (rest.length === 0 && source !== target && isRegion(source) && this.#peers.includes(target)) {
      throw fail('SYN-T002', `${id} belongs to the agent of ${target}`, { context: { owner: target } });
    }
    throw fail('SYN-T001', `there is no link ${id}; there are ${[...this.#links.keys()].join(', ') || 'none'}`);
  }

  /** Changes status and policy; resolves once that is committed. */
  async patch(id: string, patch: LinkPatch): Promise<StoredLink> {
    this.link(id);
    const values: TextValue[] = [id];
    const changes = Object.entries(columnsOf(patch)).map(([column, value]) => {
      values.push(value);
      return `${column} = $${values.length}`;
    });
    const { rows } = await this.#database.query(
      `update syncline.link set ${[...changes, 'updated_at = clock_timestamp()'].join(', ')}
        where link_id = $1 returning ${COLUMNS}`,
      values,
    );
    const [row] = rows;
    if (row === undefined) throw fail('SYN-T001', `the row of link ${id} is gone from syncline.link`);
    // What was acknowledged last may not be written yet.
    const { last_acked_event_id } = this.link(id);
    const link = { ...toLink(row), last_acked_event_id };
    this.#links.set(id, link);
    return link;
  }

  /** Notes that everything up to this event is applied; it is written within the flush interval. */
  acknowledged(id: string, eventId: string): void {
    const link = this.#links.get(id);
    if (link === undefined || link.last_acked_event_id === eventId) return;
    this.#links.set(id, { ...link, last_acked_event_id: eventId, updated_at: new Date().toISOString() });
    this.#unwritten.set(id, eventId);
    this.#timer ??= setTimeout(() => void this.#flushByTimer(), this.#options.flushIntervalMs ?? FLUSH_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Writes what is not written yet. */
  async flush(): Promise<void> {
    const next = this.#flushing.catch(() => undefined).then(() => this.#write());
    this.#flushing = next;
    await next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.flush().catch((error: unknown) => this.#options.onFlushError?.(error));
    clearTimeout(this.#timer);
  }

  async #flushByTimer(): Promise<void> {
    this.#timer = undefined;
    await this.flush().catch((error: unknown) => this.#options.onFlushError?.(error));
  }

  async #write(): Promise<void> {
    const acks = this.#unwritten;
    if (acks.size === 0) return;
    this.#unwritten = new Map();
    try {
      await this.#database.query(
        `update syncline.link l set last_acked_event_id = a.event_id, updated_at = clock_timestamp()
           from unnest($1::text[], $2::uuid[]) as a (link_id, event_id) where l.link_id = a.link_id`,
        [arrayText([...acks.keys()]), arrayText([...acks.values()])],
      );
    } catch (error) {
      // Newer acknowledgements that came meanwhile stand for these.
      this.#unwritten = new Map([...acks, ...this.#unwritten]);
      throw error;
    }
  }
}

/** What an operator set and nothing follows yet: kept for the version that carries it out. */
export function ineffectiveOf(policy: LinkPolicy): IneffectivePolicy[] {
  const { mode, bandwidth_limit_bytes_per_s, failover_priority, tables } = policy;
  const set: Record<IneffectivePolicy, boolean> = {
    mode: mode !== 'async',
    bandwidth_limit_bytes_per_s: bandwidth_limit_bytes_per_s !== null,
    failover_priority: failover_priority !== 0,
    tables: tables !== null,
  };
  return (Object.keys(set) as IneffectivePolicy[]).filter((name) => set[name]);
}

function columnsOf(patch: LinkPatch): Record<string, TextValue> {
  const columns: Record<string, TextValue> = {};
  if (patch.status !== undefined) columns.status = patch.status;
  if (patch.mode !== undefined) columns.mode = patch.mode;
  if (patch.lag_slo_ms !== undefined) columns.lag_slo_ms = String(patch.lag_slo_ms);
  if (patch.failover_priority !== undefined) columns.failover_priority = String(patch.failover_priority);
  if (patch.tables !== undefined) columns.tables = patch.tables === null ? null : JSON.stringify(patch.tables);
  const { bandwidth_limit_bytes_per_s: limit } = patch;
  if (limit !== undefined) columns.bandwidth_limit_bytes_per_s = limit === null ? null : String(limit);
  const { allow_drift_ms: drift } = patch;
  if (drift !== undefined) columns.allow_drift_ms = drift === null ? null : String(drift);
  return columns;
}

function toLink(row: TextRow): StoredLink {
  const { tables, bandwidth_limit_bytes_per_s: limit } = row;
  return {
    link_id: String(row.link_id),
    source_region: String(row.source_region),
    target_region: String(row.target_region),
    // What an older agent stored as degraded was active before and is to be tried again.
    status: row.status === 'paused' ? 'paused' : 'active',
    last_acked_event_id: row.last_acked_event_id ?? null,
    updated_at: String(row.updated_at),
    mode: row.mode === 'sync' ? 'sync' : 'async',
    lag_slo_ms: Number(row.lag_slo_ms ?? LAG_SLO_MS_DEFAULT),
    bandwidth_limit_bytes_per_s: limit == null ? null : Number(limit),
    failover_priority: Number(row.failover_priority),
    tables: tables == null ? null : (JSON.parse(tables) as string[]),
    allow_drift_ms: row.allow_drift_ms == null ? null : Number(row.allow_drift_ms),
  };
}
