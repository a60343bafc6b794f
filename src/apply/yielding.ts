/** Errors by which the lane gives way: lock waits, deadlocks and cancelled statements. The foreground was there first. */
import { sqlStateOf } from '../platform/errors.ts';

const YIELDING_STATES = new Set(['55P03', '40P01', '40001', '57014']);

export function isYielding(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && YIELDING_STATES.has(state);
}
