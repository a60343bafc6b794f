/**
 * One simulated region: a modelled database, and an agent made of the real publisher, stamper, ledger, stability, lane,
 * link consumers and transaction readers over a memory log.
 */
import type { Mark } from '../../src/apply/apply-port.ts';
import { Lane } from '../../src/apply/lane.ts';
import { LinkConsumer } from '../../src/apply/link-consumer.ts';
import { PUBLISHER_LIMITS, Publisher, type StreamTail } from '../../src/capture/publisher.ts';
import { PublishedRows } from '../../src/capture/row-identity.ts';
import type { Position } from '../../src/change/position.ts';
import { runRecord } from '../../src/change/stream-record.ts';
import { NotesLedger } from '../../src/clock/notes-ledger.ts';
import { Stability } from '../../src/clock/stability.ts';
import { Stamper } from '../../src/clock/stamper.ts';
import type { MemoryLog } from '../../src/log/memory-log.ts';
import { TransactionReader } from '../../src/log/transaction-reader.ts';
import { sqlStateOf } from '../../src/platform/errors.ts';
import type { Random } from '../../src/platform/random.ts';
import { ModelApplyPort } from './model-apply-port.ts';
import { ModelDatabase } from './model-database.ts';
import { ModelStore } from './model-store.ts';
import type { Scheduler } from './scheduler.ts';

export const EPOCH = '0000000000000000001';

export type WorldView = {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly log: MemoryLog;
  readonly regions: readonly string[];
  nowMicros(): bigint;
  /** Appends so far, of all streams: tells whether there may be something new to read. */
  appends(): number;
  appended(): void;
  isPaused(source: string, target: string): boolean;
};

type Agent = {
  readonly name: string;
  readonly captureName: string;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly port: ModelApplyPort;
  readonly lane: Lane;
  consumers: LinkConsumer[];
  publisher: Publisher | null;
  filledAt: number;
};

export class Region {
  readonly name: string;
  readonly database: ModelDatabase;
  readonly store = new ModelStore();
  readonly #world: WorldView;
  #agent: Agent | null = null;
  #agents = 0;
  #run = 0;
  /** What the slot was told to be durable. */
  confirmedLsn = 0n;
  /** Events that the lane reported as applied, for tests of at-most-once. */
  applied = 0;

  constructor(name: string, world: WorldView) {
    this.name = name;
    this.#world = world;
    this.database = new ModelDatabase(name, () => world.nowMicros());
  }

  get agent(): Agent | null {
    return this.#agent;
  }

  /** Starts an agent as real ones start: notes and marks from the database, then capture and the lane. */
  async startAgent(): Promise<void> {
    this.#agents += 1;
    const name = `${this.name}/agent${this.#agents}`;
    const captureName = `${this.name}/capture${this.#agents}`;
    const { scheduler, regions } = this.#world;
    const step = async (what: string): Promise<void> => await scheduler.step(name, what);
    const ledger = new NotesLedger();
    ledger.reset(this.store.notes);
    const stability = new Stability(
      this.name,
      regions.filter((region) => region !== this.name),
    );
    const port = new ModelApplyPort(this.database, this.store, step);
    const lane = new Lane(port, ledger, stability, {
      region: this.name,
      onError: 'quarantine',
      isReplicated: () => true,
      onApplied: (report) => {
        this.applied += report.events;
      },
    });
    const agent: Agent = {
      name,
      captureName,
      ledger,
      stability,
      port,
      lane,
      consumers: [],
      publisher: null,
      filledAt: -1,
    };
    this.#agent = agent;
    void this.#applyActor(agent);
    void this.#captureActor(agent);
  }

  /** The process dies: what its database connection had not committed is rolled back. */
  killAgent(zombie: boolean): void {
    const agent = this.#agent;
    if (agent === null) return;
    this.#agent = null;
    this.#world.scheduler.kill(agent.name);
    if (!zombie) {
      this.#world.scheduler.kill(agent.captureName);
      this.#world.scheduler.kill(`${agent.captureName}/append`);
    }
    const open = agent.port.transaction;
    if (open !== null) this.database.abort(open);
  }

  /** The database dies and comes back; sessions are cut, the agent reconnects. */
  crashDatabase(): void {
    this.database.crash();
  }

  /** Expires the lane's lock wait, as its lock timeout does. */
  expireLockWait(): void {
    const waiting = this.#agent?.port.transaction;
    waiting?.expire?.(Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' }));
  }

  get tail(): Position | null {
    return this.#agent?.publisher?.lastPosition ?? null;
  }

  /** Whether everything committed is published, and everything published was applied here. */
  isSettled(tails: ReadonlyMap<string, Position | null>): boolean {
    const agent = this.#agent;
    if (agent === null || this.store.looks.size > 0 || agent.port.transaction?.ended === false) return false;
    for (const [origin, tail] of tails) {
      if (tail !== null && this.store.marks.get(origin)?.position !== tail) return false;
    }
    return true;
  }

  async #captureActor(agent: Agent): Promise<void> {
    const { scheduler } = this.#world;
    for (;;) {
      await scheduler.step(agent.captureName, 'capture starts');
      if (this.#agent !== agent) return;
      try {
        await this.#capture(agent);
        return;
      } catch (error) {
        // An append that crashed: a new run begins at the stream's tail.
        agent.publisher = null;
        if (!String(error).includes('SYN-L002')) throw error;
        scheduler.note(`${agent.captureName}: append crashed`);
      }
    }
  }

  async #capture(agent: Agent): Promise<void> {
    const { scheduler, log } = this.#world;
    this.#run += 1;
    const run = this.#run;
    const writer = await log.writer(this.name);
    await writer.append([runRecord({ region_id: this.name, run, epoch: EPOCH, opened_at: '' })]);
    this.#world.appended();
    const stamper = new Stamper();
    const tail = await this.#readTail(stamper);
    let next = this.database.wal.findIndex((entry) => entry.lsn >= this.confirmedLsn);
    if (next < 0) next = this.database.wal.length;
    const publisher = new Publisher({
      region: this.name,
      run,
      epoch: EPOCH,
      writer,
      ledger: agent.ledger,
      stamper,
      stability: agent.stability,
      resumeAfter: tail,
      confirmedLsn: this.confirmedLsn,
      predecessor: tail?.position ?? null,
      onDurable: (endLsn) => {
        if (this.#agent === agent && endLsn > this.confirmedLsn) this.confirmedLsn = endLsn;
        agent.ledger.prune(this.confirmedLsn);
        this.#world.appended();
      },
      defer: (start) => {
        void scheduler.step(`${agent.captureName}/append`, 'append').then(start);
      },
      limits: { transaction_rows_max: 3 },
    });
    agent.publisher = publisher;
    for (;;) {
      await scheduler.step(
        agent.captureName,
        'capture',
        () => next < this.database.wal.length || publisher.failed.aborted || this.#agent !== agent,
      );
      publisher.failed.throwIfAborted();
      // The slot is gone with the agent that held it; what a zombie has in hand may still be appended.
      if (this.#agent !== agent) return;
      const entry = this.database.wal[next];
      if (entry === undefined) continue;
      next += 1;
      await publisher.begin(entry);
      for (const change of entry.changes) await publisher.change(change);
      if (entry.heartbeat !== null) publisher.heartbeat(entry.heartbeat);
      await publisher.commit(entry.endLsn);
    }
  }

  /** The stream's last item, and the stamps that the Stamper has to remember. */
  async #readTail(stamper: Stamper): Promise<StreamTail | null> {
    const published = new PublishedRows(stamper, { ...PUBLISHER_LIMITS, transaction_rows_max: 3 });
    await using stream = await this.#world.log.reader(this.name);
    const reader = new TransactionReader(stream, 0);
    let tail: StreamTail | null = null;
    while (await reader.fill(0)) {
      const item = reader.shift();
      if (item.kind === 'heartbeat') {
        const { position, committed_at, hlc } = item.heartbeat;
        stamper.remember(hlc, { kind: 'rows', keys: [], tables: [] }, []);
        tail = { position, xid: null, committed_at };
      } else if (item.kind === 'transaction') {
        for (const event of item.events) published.add(event);
        tail = { position: item.position, xid: item.xid, committed_at: item.committed_at };
      }
    }
    return tail;
  }

  async #applyActor(agent: Agent): Promise<void> {
    const { scheduler, random } = this.#world;
    await scheduler.step(agent.name, 'apply starts');
    await this.#open(agent);
    for (;;) {
      await scheduler.step(agent.name, 'apply', () => this.#hasWork(agent));
      try {
        if (random.chance(0.1)) await agent.port.prune(this.#prunable(agent), this.confirmedLsn, 1000);
        if (this.store.looks.size > 0 && random.chance(0.5)) await agent.lane.lookAgain();
        await this.#applyOnce(agent, random.pick(agent.consumers));
      } catch (error) {
        const state = sqlStateOf(error);
        if (state === undefined || !['55P03', '40P01', '57P02'].includes(state)) throw error;
        scheduler.note(`${agent.name}: ${state}`);
        if (state === '57P02') await this.#open(agent);
      }
    }
  }

  /** Reads where the database stands, at start and after the connection was lost. */
  async #open(agent: Agent): Promise<void> {
    agent.ledger.reset(this.store.notes);
    await agent.lane.open();
    agent.consumers = [];
    for (const origin of this.#world.regions) agent.consumers.push(await this.#consumer(agent, origin));
    agent.filledAt = -1;
  }

  /** Reads from the mark on, or from somewhere before it: deliveries may repeat. */
  async #consumer(agent: Agent, origin: string): Promise<LinkConsumer> {
    const mark: Mark | undefined = agent.lane.mark(origin);
    const again = mark === undefined || this.#world.random.chance(0.2) ? 0 : mark.log_offset;
    const stream = await this.#world.log.reader(origin);
    return new LinkConsumer(origin, new TransactionReader(stream, again), 5);
  }

  #prunable(agent: Agent): bigint {
    const own = agent.stability.promiseAt(this.name, agent.lane.mark(this.name)?.position);
    const stable = agent.stability.watermark();
    return stable < own ? stable : own;
  }

  #hasWork(agent: Agent): boolean {
    if (agent.filledAt < this.#world.appends() || this.store.looks.size > 0) return true;
    return agent.consumers.some(
      (consumer) => consumer.waiting > 0 && !this.#world.isPaused(consumer.origin, this.name),
    );
  }

  async #applyOnce(agent: Agent, consumer: LinkConsumer): Promise<void> {
    const { random } = this.#world;
    agent.filledAt = this.#world.appends();
    for (const each of agent.consumers) await each.fill(0);
    if (this.#world.isPaused(consumer.origin, this.name)) return;
    // A reader that is replaced goes back: what it delivered is delivered again.
    if (random.chance(0.02)) {
      agent.consumers[agent.consumers.indexOf(consumer)] = await this.#consumer(agent, consumer.origin);
      agent.filledAt = -1;
      return;
    }
    const limit = { rows_max: 1 + random.below(8), transactions_max: 1 + random.below(5) };
    const nowMs = Number(this.#world.nowMicros() / 1000n);
    consumer.settle(agent.lane.mark(consumer.origin)?.position);
    const due = consumer.due(agent.lane.marks, limit, nowMs, (origin) => this.#world.isPaused(origin, this.name));
    if (due.kind !== 'batch') return;
    if (consumer.origin === this.name && !(await agent.lane.areVisible(due.items))) return;
    await agent.lane.apply(consumer.origin, due.items);
    consumer.settle(agent.lane.mark(consumer.origin)?.position);
  }
}
