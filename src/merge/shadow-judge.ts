/**
 * Asks versions in shadow about the conflicts that wait for them, and counts where they would have come to another row.
 *
 * It has no part in applying anything: the lane leaves conflicts of which nothing can change any more in a table, and goes on. They are
 * judged here, over another connection and in a sandbox of its own thread; so a function that fails, takes its time or
 * never ends changes no row and holds nothing up. What each conflict comes to follows from what is kept of it and from the
 * version alone (`src/resolve/shadow.ts`), so every region counts the same.
 *
 * A function that is silent beyond all measure is a fault where it merges. Here it is counted as one, and the next conflict is
 * taken, since nothing depends on the outcome.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Image, imageToJson } from '../change/change-event.ts';
import { isInfrastructure, SynclineError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { arrayText } from '../platform/postgres.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { foldTogether } from '../resolve/fold-drivers.ts';
import { isPlainlyValid, type RegisteredRule } from '../resolve/known-merges.ts';
import type { MergeSandbox } from '../resolve/sandbox/merge-sandbox.ts';
import { makeMergeVersion } from '../resolve/sandbox/merge-version.ts';
import { judgeShadow, type ShadowVerdict } from '../resolve/shadow.ts';
import { registered } from './lane-merges.ts';
import type { MergeDefinition } from './merge-definition.ts';
import { readDefinitions } from './registry-store.ts';
import { type JudgedCase, kindsOf, readWaiting, saveJudged, type WaitingCase } from './shadow-store.ts';

const PERIOD_MS = 1_000;
const CASES_AT_ONCE = 200;
/** Faults of the sandbox: no answer, and its end. */
const SANDBOX_FAULTS: ReadonlySet<string> = new Set(['SYN-A085', 'SYN-A086']);

export type ShadowJudgeOptions = {
  readonly database: Queryable;
  /** Not the one that merges. */
  readonly sandbox: MergeSandbox;
  /** The image without values that no log is to have; adds their columns to `found`. */
  readonly withhold: (schema: string, table: string, pk: Image, image: Image, found: Set<string>) => Image;
  readonly logger: Logger;
};

type Known = { readonly rule: RegisteredRule; readonly definition: MergeDefinition };

export class ShadowJudge {
  readonly #options: ShadowJudgeOptions;
  /** A version never changes. */
  readonly #known = new Map<string, Known>();

  constructor(options: ShadowJudgeOptions) {
    this.#options = options;
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let judged = 0;
      try {
        judged = await this.judge();
      } catch (error) {
        const { logger } = this.#options;
        // Apply and capture tell of a database that is away; nothing is lost meanwhile.
        if (!isInfrastructure(error)) logger.warn({ err: error }, 'conflicts could not be judged in shadow');
      }
      if (judged === 0) await delay(PERIOD_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Those that have waited longest; returns how many. */
  async judge(): Promise<number> {
    const { database } = this.#options;
    const waiting = await readWaiting(database, CASES_AT_ONCE);
    if (waiting.length === 0) return 0;
    await this.#learn(waiting);
    const judged: JudgedCase[] = [];
    for (const [version, cases] of Map.groupBy(waiting, ({ version_id }) => version_id)) {
      const known = this.#known.get(version);
      judged.push(...(known === undefined ? unjudged(cases) : await this.#judgeOrLeave(cases, known)));
    }
    await saveJudged(database, judged);
    return judged.length;
  }

  async #learn(waiting: readonly WaitingCase[]): Promise<void> {
    const { database, sandbox } = this.#options;
    const unknown = new Set(waiting.map(({ version_id }) => version_id).filter((id) => !this.#known.has(id)));
    if (unknown.size === 0) return;
    for (const [id, definition] of await readDefinitions(database, [...unknown], { withSources: true })) {
      const { function: kept } = definition;
      if (kept !== null) sandbox.add(makeMergeVersion(kept.source, 'javascript', kept.limits));
      this.#known.set(id, { rule: registered(definition), definition });
    }
  }

  /** What cannot be judged here, for instance for want of the table, must not stand before what waits behind it. */
  async #judgeOrLeave(cases: readonly WaitingCase[], known: Known): Promise<JudgedCase[]> {
    try {
      return await this.#judgeAll(cases, known);
    } catch (error) {
      if (isInfrastructure(error)) throw error;
      const [first] = cases;
      this.#options.logger.warn({ err: error, version: first?.version_id }, 'conflicts cannot be judged in shadow');
      return unjudged(cases);
    }
  }

  async #judgeAll(cases: readonly WaitingCase[], known: Known): Promise<JudgedCase[]> {
    try {
      const verdicts = await foldTogether(
        cases.map((each) => judgeShadow(each, known.rule.rule)),
        {
          merge: async (requests) => await this.#options.sandbox.merge(requests),
          validate: async (requests) =>
            await this.#areValid(
              known,
              requests.map(({ image }) => image),
            ),
        },
      );
      return cases.map((each, place) => this.#withheld(each, verdicts[place] ?? null));
    } catch (error) {
      if (!(error instanceof SynclineError && SANDBOX_FAULTS.has(error.code))) throw error;
      const [first] = cases;
      if (first === undefined) return [];
      if (cases.length === 1) return [toJudged(first, null, 'fault')];
      // One of them is to blame, and the others are asked again without it.
      const half = cases.length >> 1;
      return [
        ...(await this.#judgeAll(cases.slice(0, half), known)),
        ...(await this.#judgeAll(cases.slice(half), known)),
      ];
    }
  }

  async #areValid({ rule: { validity }, definition }: Known, images: readonly Image[]): Promise<boolean[]> {
    if (validity.isPlain) return images.map((image) => isPlainlyValid(validity, image));
    const isJson = new Set(
      definition.validity.columns.filter(({ type }) => type === 'json' || type === 'jsonb').map(({ name }) => name),
    );
    const texts = images.map((image) => imageToJson(image, (column) => isJson.has(column)));
    const { rows } = await this.#options.database.query(
      `select syncline.is_valid_row(format('%I.%I', $1::text, $2::text)::regclass, i.image::jsonb, $4::text[], $5::text[])
                as is_valid
         from unnest($3::text[]) with ordinality as i(image, place) order by place`,
      [
        definition.schema_name,
        definition.table_name,
        arrayText(texts),
        arrayText(validity.not_null),
        arrayText(validity.checks),
      ],
    );
    return rows.map(({ is_valid }) => is_valid === 't');
  }

  #withheld(each: WaitingCase, verdict: ShadowVerdict | null): JudgedCase {
    const { withhold } = this.#options;
    const { schema_name, table_name, row_pk } = each;
    return toJudged(each, verdict, verdict?.failure ?? null, (image, found) =>
      withhold(schema_name, table_name, row_pk, image, found),
    );
  }
}

const unjudged = (cases: readonly WaitingCase[]): JudgedCase[] => cases.map((each) => toJudged(each, null, 'unknown'));

function toJudged(
  { case_id, version_id, row_pk, event, state, merge_version, result }: WaitingCase,
  verdict: ShadowVerdict | null,
  failure: string | null,
  withhold: (image: Image, found: Set<string>) => Image = (image) => image,
): JudgedCase {
  const isDifferent = verdict?.isDifferent === true;
  const kinds = kindsOf(isDifferent, failure);
  if (verdict === null || (!isDifferent && failure === null)) return { case_id, version_id, kinds, sample: null };
  const found = new Set<string>();
  const told = (image: Image | null): Image | null => (image === null ? null : withhold(image, found));
  const images = {
    base_image: told(event.before),
    image_a: told(state.image),
    image_b: told(event.after),
    result_image: told(result),
    shadow_image: told(verdict.image),
  };
  const { hlc, origin } = event.version;
  const sample = { event_id: event.event_id, row_pk, hlc: String(hlc), origin, merge_version, failure, ...images };
  return { case_id, version_id, kinds, sample: { ...sample, redacted: [...found].sort() } };
}
