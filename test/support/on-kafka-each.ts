// Imported before the tests of a file, it puts the streams of their clusters into Kafka, each region's into a cluster of its own.

process.env.SYNCLINE_LOG = 'kafka-each';
