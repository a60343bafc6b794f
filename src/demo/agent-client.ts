// The API of an agent, as far as the demo asks it. An agent that does not answer is no error here: the
// demo kills one on purpose.

export interface LinkState {
  readonly link_id: string;
  readonly source_region: string;
  readonly target_region: string;
  readonly status: string;
  readonly reason: { readonly code: string; readonly detail: string } | null;
  readonly lag_ms: number;
  readonly lag_p50_ms: number | null;
  readonly lag_p99_ms: number | null;
  readonly events_applied: number;
  readonly events_waiting: number;
  readonly conflicts: number;
  readonly quarantined: number;
}

/** Of two writes that did not know of each other, the one that lost (a) and the one that won (b). */
export interface Conflict {
  readonly conflict_id: string;
  readonly table_name: string;
  /** Null where it is too large for the answer. */
  readonly row_pk: Image | null;
  readonly resolution_strategy: string;
  readonly loser_region: string;
  readonly winner_region: string;
  readonly image_a: Image | null;
  readonly image_b: Image | null;
}

export type Image = Readonly<Record<string, string | null>>;

interface Page<Item> {
  readonly items: readonly Item[];
  readonly next_cursor: string | null;
}

const ANSWER_LIMIT_MS = 5_000;
const PAGE_ITEMS = 500;
const PAGES_MAX = 200;

export class AgentClient {
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  async isReady(signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#fetch('/readyz', signal)).ok;
    } catch {
      return false;
    }
  }

  /** The links that end in this region; null while the agent does not answer. */
  async links(region: string, signal: AbortSignal): Promise<LinkState[] | null> {
    try {
      const { links } = await this.#json<{ links: LinkState[] }>('/topology', signal);
      return links.filter((link) => link.target_region === region);
    } catch {
      return null;
    }
  }

  /** The conflicts that this region knows of, newest first. */
  async conflicts(signal: AbortSignal): Promise<Conflict[]> {
    const conflicts: Conflict[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const answer: Page<Conflict> = await this.#json(`/conflicts?limit=${PAGE_ITEMS}${after}`, signal);
      conflicts.push(...answer.items);
      cursor = answer.next_cursor;
      if (cursor === null) break;
    }
    return conflicts;
  }

  async #json<T>(path: string, signal: AbortSignal): Promise<T> {
    const answer = await this.#fetch(path, signal);
    if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}`);
    return (await answer.json()) as T;
  }

  async #fetch(path: string, signal: AbortSignal): Promise<Response> {
    return await fetch(`${this.#base}${path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]),
    });
  }
}
