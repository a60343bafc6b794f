// A small shop: the tables of the demo and their first rows. Every region runs this before its agent
// starts, and gets the same rows, since rows from before replication are not sent. So nothing here may
// depend on chance or on the clock.

export const PRODUCTS = 200;
export const CUSTOMERS = 500;

export const SHOP_TABLES = ['customers', 'products', 'orders', 'order_items', 'carts'] as const;

export const sku = (number: number): string => `SKU-${String(number).padStart(4, '0')}`;

export const SHOP_SCHEMA = `
create table public.customers (
  customer_id uuid primary key,
  name text not null,
  email text,
  address jsonb not null,
  created_at timestamptz not null
);
create table public.products (
  sku text primary key,
  name text not null,
  price numeric(10, 2) not null check (price > 0),
  stock integer not null check (stock >= 0),
  attributes jsonb not null,
  updated_at timestamptz not null
);
create table public.orders (
  order_id uuid primary key,
  customer_id uuid not null references public.customers,
  status text not null,
  total numeric(12, 2) not null,
  placed_at timestamptz not null
);
create table public.order_items (
  order_id uuid not null references public.orders,
  line integer not null,
  sku text not null,
  quantity integer not null,
  price numeric(10, 2) not null,
  primary key (order_id, line)
);
create table public.carts (
  customer_id uuid not null,
  sku text not null,
  quantity integer not null,
  note text,
  updated_at timestamptz not null,
  primary key (customer_id, sku)
);

insert into public.customers
select md5('customer ' || i)::uuid, 'Customer ' || i, case when i % 5 > 0 then 'c' || i || '@shop.example' end,
  jsonb_build_object('street', i || ' Market Street', 'city', (array['Lisbon', 'Boston', 'Pune', 'Oslo'])[i % 4 + 1]),
  timestamptz '2024-01-01 00:00+00' + i * interval '1 hour'
from generate_series(1, ${CUSTOMERS}) i;

insert into public.products
select 'SKU-' || lpad(i::text, 4, '0'), (array['Teapot', 'Lamp', 'Chair', 'Notebook', 'Blanket'])[i % 5 + 1] || ' no. ' || i,
  (5 + i % 95)::numeric + 0.99, 1000,
  jsonb_build_object('weight_g', 100 + i * 7 % 900, 'tags', jsonb_build_array('home', 'tag' || i % 9)),
  timestamptz '2024-01-01 00:00+00'
from generate_series(1, ${PRODUCTS}) i`;
