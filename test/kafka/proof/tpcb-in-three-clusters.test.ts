// TPC-B in three regions, each of which has a Kafka cluster of its own.

import '../../support/on-kafka-each.ts';
import '../../regions/tpcb.test.ts';
