-- What every region begins with: the same tables, and no rows that differ.
create table product (
  sku text primary key,
  name text not null,
  price numeric(10, 2) not null,
  stock integer not null
);
insert into product values ('tea', 'Teapot', 19.90, 100), ('lamp', 'Lamp', 49.00, 20);
