// Shoppers and clerks of one region. Most of what they do meets nobody; on purpose some of it meets
// the same rows as in the other regions: prices and stock of the products on offer, and the carts of
// customers who shop on two devices. So updates run against updates, and deletes against updates.
//
// A write counts once its COMMIT was confirmed. A deadlock or a lost connection is part of life: the
// transaction is given up and the next one begins, on a new connection where needed.

import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isInfrastructure } from '../platform/errors.ts';
import { connect, type PostgresClient } from '../platform/postgres.ts';
import type { Random } from '../platform/random.ts';
import { CUSTOMERS, PRODUCTS, sku } from './shop-schema.ts';

const CLIENTS = 2;
/** Between two transactions of one client: a shop with visitors, not a benchmark. */
const PAUSE_MS = 12;
const RECONNECT_MS = 100;
const PRODUCTS_ON_OFFER = 8;
const CUSTOMERS_EVERYWHERE = 12;
const SHARE_TOGETHER = 0.25;
const STATEMENT_TIMEOUT_MS = 10_000;

type Write = (client: PostgresClient, random: Random) => Promise<void>;

export class ShopWorkload {
  readonly #url: string;
  readonly #random: Random;
  readonly #onUnexpected: (error: unknown) => void;
  #stopping = new AbortController();
  #clients: Promise<void>[] = [];
  #transactions = 0;

  constructor(url: string, random: Random, onUnexpected: (error: unknown) => void) {
    this.#url = url;
    this.#random = random;
    this.#onUnexpected = onUnexpected;
  }

  /** Transactions whose COMMIT was confirmed. */
  get transactions(): number {
    return this.#transactions;
  }

  start(): void {
    this.#stopping = new AbortController();
    this.#clients = Array.from({ length: CLIENTS }, () => this.#serve(this.#stopping.signal));
  }

  /** Resolves once no transaction is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#clients);
  }

  async #serve(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let client: PostgresClient | undefined;
      try {
        client = await connect(this.#url, {
          applicationName: 'syncline demo shop',
          statementTimeoutMs: STATEMENT_TIMEOUT_MS,
        });
        await this.#shop(client, signal);
      } catch (error) {
        if (!isInfrastructure(error)) this.#onUnexpected(error);
        await pause(RECONNECT_MS, signal);
      } finally {
        await client?.end();
      }
    }
  }

  async #shop(client: PostgresClient, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const write = chooseWrite(this.#random);
      try {
        await client.transaction(() => write(client, this.#random));
        this.#transactions += 1;
      } catch (error) {
        if (client.lost.aborted || !isInfrastructure(error)) throw error;
      }
      await pause(PAUSE_MS * (0.5 + this.#random.float()), signal);
    }
  }
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await delay(durationMs, undefined, { signal }).catch(() => undefined);
}

const customerId = (number: number): string => {
  const hex = createHash('md5').update(`customer ${number}`).digest('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

/** Half of the time one of the few that all regions write to. */
const anyProduct = (random: Random): string =>
  sku(1 + random.below(random.chance(SHARE_TOGETHER) ? PRODUCTS_ON_OFFER : PRODUCTS));
const anyCustomer = (random: Random): string =>
  customerId(1 + random.below(random.chance(SHARE_TOGETHER) ? CUSTOMERS_EVERYWHERE : CUSTOMERS));

const placeOrder: Write = async (client, random) => {
  const orderId = randomUUID();
  const customer = anyCustomer(random);
  // In the order of their keys, so that two orders do not lock each other out.
  const skus = [...new Set(Array.from({ length: 1 + random.below(4) }, () => anyProduct(random)))].sort();
  const items = skus.map((each) => ({ sku: each, quantity: 1 + random.below(3) }));
  await client.query(
    `insert into public.orders values ($1, $2, 'placed', 0, clock_timestamp())`,
    [orderId, customer],
    PREPARED,
  );
  for (const [line, item] of items.entries()) {
    const quantity = String(item.quantity);
    await client.query(
      `insert into public.order_items
       select $1, $2::integer, sku, $4::integer, price from public.products where sku = $3`,
      [orderId, String(line + 1), item.sku, quantity],
      PREPARED,
    );
    await client.query(
      `update public.products set updated_at = clock_timestamp(),
       stock = case when stock < $2::integer then 1000 else stock - $2::integer end where sku = $1`,
      [item.sku, quantity],
      PREPARED,
    );
  }
  await client.query(
    `update public.orders set total = (select sum(quantity * price) from public.order_items where order_id = $1)
     where order_id = $1`,
    [orderId],
    PREPARED,
  );
  await client.query(`delete from public.carts where customer_id = $1`, [customer], PREPARED);
};

const addToCart: Write = async (client, random) => {
  await client.query(
    `insert into public.carts as c values ($1, $2, $3::integer, $4, clock_timestamp())
     on conflict (customer_id, sku) do update
     set quantity = c.quantity + excluded.quantity, note = excluded.note, updated_at = excluded.updated_at`,
    [
      anyCustomer(random),
      anyProduct(random),
      String(1 + random.below(3)),
      random.pick([null, '', 'a gift', 'für Zoë']),
    ],
    PREPARED,
  );
};

const emptyCart: Write = async (client, random) => {
  await client.query(`delete from public.carts where customer_id = $1`, [anyCustomer(random)], PREPARED);
};

const reprice: Write = async (client, random) => {
  const price = (5 + random.below(9_000) / 100).toFixed(2);
  await client.query(
    `update public.products set price = $2::numeric, updated_at = clock_timestamp() where sku = $1`,
    [anyProduct(random), price],
    PREPARED,
  );
};

const restock: Write = async (client, random) => {
  await client.query(
    `update public.products set stock = 1000, updated_at = clock_timestamp() where sku = $1`,
    [anyProduct(random)],
    PREPARED,
  );
};

const moveHouse: Write = async (client, random) => {
  await client.query(
    `update public.customers set address = address || jsonb_build_object('street', $2::text) where customer_id = $1`,
    [anyCustomer(random), `${1 + random.below(999)} New Road`],
    PREPARED,
  );
};

const shipOrder: Write = async (client) => {
  await client.query(
    `update public.orders set status = 'shipped' where order_id =
       (select order_id from public.orders where status = 'placed' order by order_id limit 1)`,
    [],
    PREPARED,
  );
};

const PREPARED = { prepare: true } as const;

const WRITES: readonly (readonly [share: number, write: Write])[] = [
  [30, placeOrder],
  [28, addToCart],
  [6, emptyCart],
  [12, reprice],
  [8, restock],
  [8, moveHouse],
  [8, shipOrder],
];
const SHARES = WRITES.reduce((sum, [share]) => sum + share, 0);

function chooseWrite(random: Random): Write {
  let drawn = random.below(SHARES);
  for (const [share, write] of WRITES) {
    if (drawn < share) return write;
    drawn -= share;
  }
  return addToCart;
}
