package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkExport has DuckDB write what is in a snapshot of orchd's, SNAPSHOT, as parquet files:
// from tables in memory, with two threads, on stable storage at the end. It is there to be
// compared with how long orchd took for that snapshot: make bench-snapshots.
func BenchmarkExport(b *testing.B) {
	folder := os.Getenv("SNAPSHOT")
	if folder == "" {
		b.Fatal("SNAPSHOT names no folder")
	}
	db := loaded(b, folder)
	for b.Loop() {
		to := b.TempDir()
		began := time.Now()
		if _, err := db.ExecContext(b.Context(), fmt.Sprintf("EXPORT DATABASE '%s' (FORMAT parquet)", to)); err != nil {
			b.Fatal(err)
		}
		written, err := synced(to)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s-export")
		b.ReportMetric(float64(written)/1e6, "MB")
	}
}

// loaded is a DuckDB in memory with the tables of a snapshot.
func loaded(b *testing.B, folder string) *sql.DB {
	db, err := sql.Open("duckdb", "?threads=2")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	entries, err := os.ReadDir(folder)
	if err != nil {
		b.Fatal(err)
	}
	tables := 0
	for _, e := range entries {
		name, files := strings.TrimSuffix(e.Name(), ".parquet"), filepath.Join(folder, e.Name())
		if e.IsDir() {
			files = filepath.Join(files, "*.parquet")
		} else if name == e.Name() {
			continue // the manifest
		}
		if _, err := db.ExecContext(b.Context(), fmt.Sprintf("CREATE TABLE %q AS SELECT * FROM read_parquet('%s')", name, files)); err != nil {
			b.Fatal(err)
		}
		tables++
	}
	if tables == 0 {
		b.Fatalf("there is no table in %s", folder)
	}
	return db
}

// synced puts all files of a folder on stable storage, and gives how many bytes they are.
func synced(folder string) (bytes int64, err error) {
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return errors.Join(err, f.Sync(), f.Close())
	})
	return bytes, err
}
