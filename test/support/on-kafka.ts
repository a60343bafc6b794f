// Imported before the tests of a file, it puts the streams of their clusters into Kafka.

process.env.SYNCLINE_LOG = 'kafka';
