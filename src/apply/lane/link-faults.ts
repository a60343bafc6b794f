/**
 * What is wrong with each link that a region applies, as it is told to whoever shows it.
 *
 * Two speak of a link: the lane, when it stands still and goes on, and the acknowledgements that it sends to the log. What the lane
 * says goes first, and an acknowledgement that fails is a fault until one succeeds: nothing else says that it is over, since
 * events flow meanwhile. What the lane said outlives its connection to the database, until a batch is applied by a later one:
 * forgetting it with the connection would leave it told for ever, and ending it then would say that a link goes on which may not.
 */
type Tell = (origin: string, error: unknown) => void;

export class LinkFaults {
  readonly #tell: Tell;
  readonly #standing = new Set<string>();
  readonly #unacknowledged = new Map<string, unknown>();

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  /** The link stands still; with null, it goes on. */
  lane(origin: string, error: unknown): void {
    if (error === null) this.#standing.delete(origin);
    else this.#standing.add(origin);
    this.#tell(origin, error ?? this.#unacknowledged.get(origin) ?? null);
  }

  /** Whether the lane said last that the link stands still. */
  isStanding(origin: string): boolean {
    return this.#standing.has(origin);
  }

  /** An acknowledgement to the log failed; with null, it succeeded. */
  acknowledgement(origin: string, error: unknown): void {
    if (error !== null) this.#unacknowledged.set(origin, error);
    else if (!this.#unacknowledged.delete(origin)) return;
    if (!this.#standing.has(origin)) this.#tell(origin, error);
  }
}
