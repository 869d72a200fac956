// Command orchd-sql is the SQL engine behind orchd sql: DuckDB over a folder of
// parquet files. It is a program of its own, because DuckDB needs cgo and weighs
// tens of megabytes, and orchd is a small static binary.
//
// It runs a prelude, a file of SQL that gives the parquet files beside it their
// names, and then statements of whoever asks. What always holds: a statement sees
// the folder of the prelude and nothing else of the machine, and it cannot change
// how the engine is set up (lock.go); it may make temporary tables and views in memory.
//
//	orchd-sql --prelude DIR/prelude.sql -c 'select * from vms' -o csv
//	orchd-sql --prelude DIR/prelude.sql                    # interactive
//
// The exit code is 0, 1 when something failed, 2 for wrong SQL or wrong usage,
// 130 when it was interrupted. Start with main.go, then engine.go.
package main
