/**
 * The echo: a region's own events, seen again from its own stream.
 *
 * PostgreSQL tells the version of a local row by its xmin, so most local events need nothing here but to be judged for
 * conflicts. Three kinds do: a removal (also the old key of a key change) leaves its tombstone, and removes an older
 * row that apply put there between the commit and now; a TRUNCATE does so for the table; a write with a pushed stamp
 * gets its tuple rewritten under the region's own origin, so that the row says what the stream says; where an event of
 * another region was quicker and went by the older stamp, the row is put back. An echo never
 * touches a later local write, and it brings every row to the winner that all other regions compute.
 */
import { isoToMicros } from '../change/change-event.ts';
import { type Hlc, hlcMicros } from '../change/hlc.ts';
import { isAbove, type Version } from '../change/version.ts';
import type { TableShape } from './apply-port.ts';
import type { BatchWriter, StandingRow } from './batch-writer.ts';
import { echoRewrites, echoTakes, isPushed } from './decide.ts';
import type { ChainLink, RowOp, Step } from './net-change.ts';

export class EchoWriter {
  readonly #writer: BatchWriter;
  readonly #self: string;
  readonly #lostBelow: Hlc;
  /** Rows whose tuple this batch has rewritten. */
  readonly #rewritten = new Set<string>();

  constructor(writer: BatchWriter, self: string, lostBelow: Hlc) {
    this.#writer = writer;
    this.#self = self;
    this.#lostBelow = lostBelow;
  }

  async write(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      if (step.kind === 'truncate') await this.#truncate(step.shape, step.link);
      else for (const { shape, ops } of step.tables.values()) await this.#rows(shape, [...ops.values()]);
    }
  }

  async #rows(shape: TableShape, ops: readonly RowOp[]): Promise<void> {
    for (const op of ops) this.#writer.judge(shape, op);
    const looked = ops.filter((op) => this.#needsLook(op));
    if (looked.length === 0) return;
    looked.sort((a, b) => (a.key < b.key ? -1 : 1));
    const standing = await this.#writer.stand(shape, looked);
    for (const op of looked) {
      const row = standing.get(op.key);
      if (row === undefined) continue;
      const { source } = op.last;
      const version: Version = { hlc: source.hlc, origin: this.#self };
      if (op.kind === 'remove') {
        if (echoTakes(row.current, version)) await this.#writer.transaction.erase(shape, op);
        this.#writer.buried(shape, op.key, op.last);
      } else if (isPushed(source.hlc, commitMicros(op.last)) && (await this.#rewrites(shape, op, row, version))) {
        this.#writer.wrote(shape, op.key, op.last);
      }
      this.#writer.judgeRow(shape, op, row);
    }
  }

  /**
   * Brings the row of a pushed write to what the stream says; false where it is another write's by now. A row that is gone
   * was removed by a later local write, which is above it and whose echo is to come, or by an event that took it for older
   * than it is, going by its commit timestamp. Which of the two tells itself once all that is committed by now is echoed.
   */
  async #rewrites(shape: TableShape, op: RowOp, row: StandingRow, version: Version): Promise<boolean> {
    const { transaction } = this.#writer;
    const rewritten = { key: op.key, pk: op.pk, image: op.image ?? {}, hlc: version.hlc };
    const name = `${shape.id} ${op.key}`;
    if (row.current === null) {
      if (row.tombstone !== undefined && isAbove(row.tombstone, version)) return false;
      // Within a transaction, a TRUNCATE behind a first rewriting took the tuple that a later change left.
      if (this.#rewritten.has(name)) return await transaction.insert(shape, rewritten);
      this.#writer.putBack(shape, op);
      return false;
    }
    const write = { version, xid: op.last.source.xid, commitMicros: commitMicros(op.last), image: rewritten.image };
    if (!echoRewrites(row.current, write)) return false;
    this.#rewritten.add(name);
    await transaction.overwrite(shape, rewritten);
    return true;
  }

  /** An event that was forgotten unsettled may have overwritten it. */
  #needsLook(op: RowOp): boolean {
    const { source } = op.last;
    return op.kind === 'remove' || isPushed(source.hlc, commitMicros(op.last)) || source.hlc < this.#lostBelow;
  }

  async #truncate(shape: TableShape, link: ChainLink): Promise<void> {
    this.#writer.judgeTruncate(shape, link);
    await this.#writer.emptyTable(shape, link, echoTakes);
  }
}

/** Commit time at the origin, in Unix µs: what PostgreSQL keeps for the tuple. */
function commitMicros(link: ChainLink): bigint {
  const { committed_at, hlc } = link.source;
  const micros = isoToMicros(committed_at);
  return hlcMicros(hlc) === micros ? hlcMicros(hlc) : micros;
}
