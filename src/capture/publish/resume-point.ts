/**
 * What a capture that starts takes over from its own stream: where the stream ends, and the Stamper's memory.
 *
 * It is read behind the new run's first record. What an older run still had in the air either stands before that record
 * and counts, or comes behind it and is void; so nothing can be published in between.
 */
import type { Position } from '../../change/position.ts';
import { parseChange, parseHeartbeat } from '../../change/stream-record.ts';
import { Stamper, WINDOW } from '../../clock/stamper.ts';
import type { StreamReader } from '../../log/event-log.ts';
import { readTail, type TailStamps } from '../../log/stream-tail.ts';
import { invariant } from '../../platform/assert.ts';
import type { StreamTail } from './publisher.ts';
import { rowText, tableText } from './row-identity.ts';

export type ResumePoint = {
  /** The last whole transaction; null for a stream without one. */
  readonly tail: StreamTail | null;
  readonly predecessor: Position | null;
  readonly stamper: Stamper;
};

type TableName = { readonly schema: string; readonly table: string };

/** `tables` are those that are published: what counts for any row is remembered for each of them. */
export async function readResumePoint(reader: StreamReader, tables: readonly TableName[]): Promise<ResumePoint> {
  const { last, stamps } = await readTail(reader, WINDOW);
  const stamper = restoreStamper(stamps, tables);
  if (last === null) return { tail: null, predecessor: null, stamper };
  const [record] = await reader.read(last.offset, { records_max: 1, bytes_max: 1 });
  invariant(record?.offset === last.offset, 'the last record of the stream is there to be read');
  const { position } = last;
  if (record.kind === 'heartbeat') {
    const { committed_at } = parseHeartbeat(record.value);
    return { tail: { position, xid: null, committed_at }, predecessor: position, stamper };
  }
  const { committed_at, transaction } = parseChange(record.value);
  return { tail: { position, xid: transaction.id, committed_at }, predecessor: position, stamper };
}

/**
 * Whether the key of a table is loose is not in the stream. So every row counts for its table's text too, which the
 * Stamper asks for only where the key is loose.
 */
export function restoreStamper(stamps: TailStamps, tables: readonly TableName[]): Stamper {
  const stamper = new Stamper();
  stamper.remember(stamps.highest, { kind: 'rows', keys: [], tables: [] }, []);
  const texts = new Set(tables.map(({ schema, table }) => tableText(schema, table)));
  for (const row of stamps.rows.toReversed()) {
    const { schema_name: schema, table_name: name, row_pk, row_pk_before, hlc } = row;
    const table = tableText(schema, name);
    texts.add(table);
    const keys = [rowText(schema, name, Object.values(row_pk)), table];
    if (row_pk_before !== null) keys.push(rowText(schema, name, Object.values(row_pk_before)));
    stamper.remember(hlc, { kind: 'rows', keys, tables: [table] }, []);
  }
  if (stamps.any_row > 0n) stamper.remember(stamps.any_row, { kind: 'tables', tables: [...texts] }, []);
  return stamper;
}
