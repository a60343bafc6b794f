/** The gates of all links of a region. Each is closed until it is known that it may open, from the very start on. */
import { setTimeout as delay } from 'node:timers/promises';
import type { EventLog } from '../../log/event-log.ts';
import { BaselineGate, type GateVerdict, isOpen, type OwnBaseline } from './baseline-gate.ts';

export type BaselineGatesOptions = {
  readonly region: string;
  readonly peers: readonly { readonly region: string; readonly isTrusted: boolean }[];
  readonly logOf: (region: string) => EventLog;
  readonly onVerdict: (source: string, verdict: GateVerdict) => void;
  /** A stream cannot be read; that is tried again. */
  readonly onFault: (source: string, error: unknown) => void;
};

const RETRY_MS = 5_000;

export class BaselineGates {
  readonly #options: BaselineGatesOptions;
  readonly #gates: ReadonlyMap<string, BaselineGate>;

  constructor(options: BaselineGatesOptions) {
    const { region, peers, logOf, onVerdict } = options;
    this.#options = options;
    this.#gates = new Map(
      peers.map(({ region: source, isTrusted }) => [
        source,
        new BaselineGate({
          region,
          source,
          isTrusted,
          reader: async () => await logOf(source).reader(source),
          onVerdict: (verdict) => onVerdict(source, verdict),
        }),
      ]),
    );
  }

  /** Whether nothing of the source may be applied yet. */
  isClosed(source: string): boolean {
    const gate = this.#gates.get(source);
    return gate !== undefined && !isOpen(gate.verdict);
  }

  verdict(source: string): GateVerdict {
    return this.#gates.get(source)?.verdict ?? { kind: 'joined' };
  }

  know(own: OwnBaseline): void {
    for (const gate of this.#gates.values()) gate.know(own);
  }

  /** Opens or watches every gate; resolves once all are open, or the signal aborts. */
  async run(joined: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    for (const source of joined) this.#gates.get(source)?.joined();
    await Promise.all([...this.#gates].map(async ([source, gate]) => await this.#watch(source, gate, signal)));
  }

  async #watch(source: string, gate: BaselineGate, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        return await gate.watch(signal);
      } catch (error) {
        this.#options.onFault(source, error);
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
