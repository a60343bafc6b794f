/**
 * Which event it is that fails. A statement that writes many rows does not tell; a step of a single change does. Whether
 * an error is the data's at all, and an exact replay can narrow it down, goes by its code and never by its text.
 */
import type { ChangeEvent } from '../change/change-event.ts';
import { isDataFault as blamesData, SynclineError } from '../platform/errors.ts';
import type { Step } from './net-change.ts';

/** Tells which event of an exact replay failed. */
export class EventFailure extends Error {
  readonly event: ChangeEvent;
  constructor(event: ChangeEvent, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.event = event;
  }
}

/** Whether the data, not the world, made the statement fail: what an exact replay can narrow down. */
export function isDataFault(error: unknown): boolean {
  if (error instanceof EventFailure) return true;
  if (error instanceof SynclineError && error.class !== 'infrastructure') return error.class === 'data';
  return blamesData(error);
}

/** Writes steps one by one, each of a single change, so that an error of the data tells whose event it is. */
export async function writeOneByOne(
  rows: { write(steps: readonly Step[]): Promise<void> },
  steps: readonly Step[],
): Promise<void> {
  for (const step of steps) {
    try {
      await rows.write([step]);
    } catch (error) {
      if (!isDataFault(error)) throw error;
      throw new EventFailure(eventOf(step), error);
    }
  }
}

function eventOf(step: Step): ChangeEvent {
  if (step.kind === 'truncate') return step.link.event;
  for (const { ops } of step.tables.values()) for (const op of ops.values()) return op.last.event;
  throw new Error('a step has at least one change');
}
