/** What must hold in a simulated system: checked while it runs (`region-truth.ts`) and at its end. */

/** Each has its test in `simulation.test.ts`. */
export type InvariantName =
  /** Once faults end, everything arrives, and no actor waits for ever. */
  | 'settles'
  /** Every region holds the fold of all published events. */
  | 'converges'
  /** No merge leaves a row that its constraints do not take. */
  | 'valid'
  /** No increment of a counter is lost or doubled. */
  | 'increments'
  /** Every region parks the same rows: those that the rows above them leave no room for. */
  | 'parks-alike'
  /** Every committed change is published once, in the order of the WAL, and nothing else is. */
  | 'published-once'
  /** Each transaction of a stream names its predecessor. */
  | 'predecessors'
  /** Nothing is stamped at or below what a heartbeat before it has promised. */
  | 'promises'
  /** Every event is applied once in every region, in the transaction that moves the mark over it. */
  | 'applied-once'
  /** Nothing that is still to be applied is stamped at or below what counts as stable. */
  | 'stable'
  /** What the log is told to be applied survives every crash of the server. */
  | 'acknowledged-is-durable'
  /** An echo leaves later local writes alone. */
  | 'echo'
  /** A second look leaves local writes alone that were made after the removal was applied. */
  | 'looks'
  /** Nothing is applied that is further ahead of the local clock than the link may be. */
  | 'held'
  /** What a transaction says to have seen of a row is what it overwrote. */
  | 'seen'
  /** In the end every conflict log is final, and equals what the definition says about all events. */
  | 'conflicts-final'
  /** Every region looks for the children of every removed row, once all that may name it is there. */
  | 'orphans-found'
  /** An event names the merge rule that was active at its place in the WAL, or a newer one. */
  | 'names-merges'
  /** Every region asks the version in shadow about the same conflicts, once each. */
  | 'shadows-alike'
  /** No event of equal tables is ever set aside. */
  | 'quarantine-empty'
  /** Once heartbeats went round, nothing is kept that only unstable versions need. */
  | 'forgets'
  /** A region that is at rest has published everything. */
  | 'rests'
  /** No assertion fails, and no error is thrown that nobody expects. */
  | 'runs';

export type Failure = { readonly invariant: InvariantName; readonly message: string };
