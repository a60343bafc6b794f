/**
 * The removal that looks again.
 *
 * A commit can be captured, applied elsewhere and answered before it is visible here (a slow fsync, a synchronous
 * standby). An applied removal that finds no row may therefore be about a row that is about to appear. It leaves a durable
 * intent; once every transaction that was in progress then has ended, whatever older version appeared is removed. The
 * intent keeps its tombstone from being pruned until then.
 */
import { hlcMicros, hlcMicrosCeil } from '../change/hlc.ts';
import { isAbove } from '../change/version.ts';
import type { Stability } from '../clock/stability.ts';
import type { ApplyPort, ApplyTransaction, Guard, RipeLook } from './apply-port.ts';
import { EVERY_ROW } from './apply-port.ts';
import { tupleVersion } from './decide.ts';

const LOOKS_PER_TRANSACTION = 500;

export class LookAgainRunner {
  readonly #port: ApplyPort;
  readonly #stability: Stability;

  constructor(port: ApplyPort, stability: Stability) {
    this.#port = port;
    this.#stability = stability;
  }

  /** Settles the intents that are ripe, one origin at a time; returns how many. */
  async run(region: string): Promise<number> {
    const ripe = await this.#port.ripeLooks(LOOKS_PER_TRANSACTION);
    const byOrigin = Map.groupBy(ripe, (look) => look.version.origin);
    for (const [origin, looks] of byOrigin) {
      let stamp = 0n;
      for (const look of looks) if (look.version.hlc > stamp) stamp = look.version.hlc;
      const transaction = await this.#port.begin(origin, hlcMicrosCeil(stamp));
      try {
        for (const look of looks) await this.#settle(transaction, look, region);
        await transaction.removeLooks(looks.map((look) => look.look_id));
        await transaction.commit();
      } catch (error) {
        await transaction.rollback();
        throw error;
      }
    }
    return ripe.length;
  }

  async #settle(transaction: ApplyTransaction, look: RipeLook, region: string): Promise<void> {
    const shape = await this.#port.shape(look.table.schema, look.table.table);
    if (shape === null) return;
    const rows =
      look.key === EVERY_ROW
        ? (await transaction.removeAll(shape, look.version.hlc, this.#anythingOlder(look, region))).left
        : [{ key: look.key, pk: look.pk }];
    const tuples = await transaction.inspect(shape, rows);
    const applied = [...tuples].filter(([, tuple]) => !tuple.local && !tuple.own);
    const exacts = await transaction.exactVersions(
      shape,
      applied.map(([key, tuple]) => ({ key, xid: tuple.xid })),
    );
    for (const row of rows) {
      const tuple = tuples.get(row.key);
      if (tuple !== undefined && isAbove(look.version, tupleVersion(tuple, exacts.get(row.key)))) {
        await transaction.erase(shape, row);
      }
    }
  }

  #anythingOlder(look: RipeLook, region: string): Guard {
    const members = new Set([...this.#stability.members, region]);
    return Object.fromEntries([...members].map((member) => [member, hlcMicros(look.version.hlc)]));
  }
}
