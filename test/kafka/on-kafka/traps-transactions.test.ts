// What is proven of regions there holds on Kafka too.

import '../../support/on-kafka.ts';
import '../../regions/traps-transactions.test.ts';
