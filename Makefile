# Each target is listed by `make` alone, with the words after its ##.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Arrow's own reader: a program that knows nothing of orchd.
PARQUET_READER := github.com/apache/arrow/go/v15/parquet/cmd/parquet_reader@v15.0.2
VERSION     ?= dev
export ORCHD_BIN := $(CURDIR)/bin/orchd
export ORCHD_SQL_BIN := $(CURDIR)/bin/orchd-sql
# orchd is made without cgo, and so is everything that tests it: what is compiled for the
# one is there for the other. Only the SQL engine and the race detector need a C compiler.
export CGO_ENABLED := 0
# The SQL engine is a module of its own: the static programs never see what it needs.
SQL := cd cmd/orchd-sql && export CGO_ENABLED=1 &&

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps build bin/parquet_reader ## three peers, a guest that boots, a dead leader: in two minutes (IMAGE=disk.qcow2 boots yours, KEEP=1 leaves it running)
	go build -o bin/demo ./test/demo
	exec bin/demo

# What takes longer than a test is part of make prove.
LONG := -e /test/story -e /test/chaos -e /test/crash
# The packages whose tests take minutes, mostly waiting, begin first: go test keeps this order.
SLOW := ./test/onehost ./cluster ./vmm/libvirt ./fsm

.PHONY: test
test: deps build sql bin/parquet_reader bin/summary lint ## lint, then the tests, with real guests if this is root: what to run before each change goes in
	{ failed=0; go test -p 4 -vet=off -json -count=1 -timeout 25m $(SLOW) $$(go list ./... | grep -v $(LONG)) || failed=1; $(SQL) go test -json -count=1 ./... || failed=1; exit $$failed; } | bin/summary # -p 4: the slow ones mostly wait; vet ran above

.PHONY: soak
soak: deps build ## 500 creates and deletes while libvirtd, QEMU and orchd are killed and disks run full: some 40 minutes
	ORCHD_SOAK=500 go test -count=1 -v -timeout 3h -run '^TestManyLives$$' ./test/story

# make sim SEED=7 HOURS=2: the seed is one of the commit unless it is given.
sim:   export HOURS        ?= 24
chaos: export MINUTES      ?= 8
crash: export CRASH_POINTS ?= 500
FUZZ_TIME ?= 8s
PROOF := go test -vet=off -json -count=1 -timeout 3h

PROOFS := stories race sim chaos crash planted fuzz
.PHONY: prove
prove: ## what takes longer than a test: all of the seven below, one after the other (45 minutes)
	failed=; for proof in $(PROOFS); do echo "== $$proof"; $(MAKE) $$proof || failed+=" $$proof"; done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

.PHONY: stories
stories: deps build sql bin/summary ## whole lives of guests and clusters: real processes, libvirt and QEMU (as root)
	[ $$(id -u) -ne 0 ] || test/guest/make-debian.sh .cache/guest/debian >/dev/null 2>&1 & # a minute or two, the first time: who needs it waits for it
	$(PROOF) ./test/story | bin/summary

.PHONY: sim
sim: bin/summary ## HOURS=24 of clusters in virtual time, with faults by SEED, against a model and a checker
	$(PROOF) -run '^(TestSim|TestRegress)$$' ./test/sim | bin/summary

.PHONY: chaos
chaos: deps build bin/summary ## MINUTES=8 of real processes that are killed, cut, stopped and starved by SEED, while clients work (as root)
	$(PROOF) ./test/chaos | bin/summary

.PHONY: crash
crash: build bin/summary ## a peer's power lost at CRASH_POINTS=500 operations of its disk, bytes flipped, disks that hang, fail and fill up (as root)
	$(PROOF) ./test/crash | bin/summary

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_TIME=8s, one for each processor at a time
	go run ./test/fuzz -time $(FUZZ_TIME)

.PHONY: planted
planted: bin/summary ## twelve bugs are planted, one after the other: each must be found (as root)
	go build -tags planted -o bin/planted ./cmd/orchd
	ORCHD_BIN=$(CURDIR)/bin/planted $(PROOF) -tags planted -run '^TestPlanted' ./api ./fsm ./cluster ./snapshot ./api/server ./test/sim ./test/crash | bin/summary

.PHONY: bin/summary
bin/summary:
	go build -o bin/summary ./test/summary

# The packages in which something runs at once. What is one goroutine, whatever it is fed, is not among
# them, nor are tests with //race:out above them. The detector makes a program five to ten times slower.
RACE := ./api ./api/jwt ./api/server ./cluster ./cmd/orchd/peer ./fsm ./snapshot ./sysvc/deploy ./sysvc/host ./sysvc/modules ./sysvc/nameserver \
	./sysvc/run ./sysvc/worker ./test/onehost ./vmm ./vmm/depot ./vmm/libvirt ./vmm/sim

.PHONY: race
race: deps build bin/summary ## the tests in which something runs at once, with the race detector: whole peers side by side among them
	skip=$$(test/raceout.sh $(RACE)); CGO_ENABLED=1 go test -json -count=1 -p 4 -race -vet=off -gcflags=./fsm=-l -timeout 20m -skip "$$skip" $(RACE) | bin/summary # -l: fsm compiles in 25 s of processor time, not 40

.PHONY: bench
bench: build ## creates per second, and how long a dead leader is missed (figures: docs/benchmarks.md)
	go run ./test/bench -orchd $(ORCHD_BIN)

FLEET ?= 250000
.PHONY: bench-fleet
bench-fleet: build ## the inventory with FLEET=250000 nodes: posts, bulk load, list, lookups, memory, snapshots beside writes, a restart, a newcomer
	go run ./test/bench -orchd $(ORCHD_BIN) -fleet $(FLEET)

.PHONY: bench-snapshots
bench-snapshots: ## snapshots of FLEET=250000 nodes and their restore, and the same tables written by DuckDB
	rm -rf bin/snapshots && mkdir -p bin/snapshots
	SNAPSHOTS=$(CURDIR)/bin/snapshots FLEET=$(FLEET) go test ./fsm -run '^$$' -bench SnapshotsOfAFleet -benchtime 1x
	newest=$$(ls -d $(CURDIR)/bin/snapshots/*/ | sort -V | tail -n 1); $(SQL) SNAPSHOT=$$newest go test -run '^$$' -bench Export -benchtime 3x

.PHONY: bench-compare
bench-compare: build bin/etcd ## nodes and creates beside etcd's puts and raft alone, in turn, in one run (five minutes)
	go run ./test/bench -orchd $(ORCHD_BIN) -etcd bin/etcd -puts bin/puts

# etcd and its client are a module of their own: orchd never sees what they need.
bin/etcd:
	cd test/compare && go build -o $(CURDIR)/bin/etcd go.etcd.io/etcd/server/v3 && go build -o $(CURDIR)/bin/puts .

GUESTS ?= all
.PHONY: bench-guests
bench-guests: deps build ## creates acknowledged and running, beside virsh; 100 at once; lists of 10,000 with a peer gone (as root, ten minutes)
	go run ./test/bench -orchd $(ORCHD_BIN) -guests $(GUESTS)

.PHONY: build
build: ## bin/orchd, a static program
	go build $(BUILDFLAGS) -ldflags "-s -w -X github.com/orchd/orchd/cmd/orchd/cli.release=$(VERSION)" -o $(ORCHD_BIN) ./cmd/orchd

.PHONY: sql
sql: ## bin/orchd-sql, the engine of orchd sql: needs g++ and, the first time, a download of 40 MB
	$(SQL) go build $(BUILDFLAGS) -ldflags "-s -w" -o $(ORCHD_SQL_BIN) .

.PHONY: release
release: ## bin/orchd and bin/orchd-sql as they are handed out (VERSION=1.2.3): no path of this machine is in them
	$(MAKE) build sql BUILDFLAGS=-trimpath

bin/parquet_reader:
	GOBIN=$(CURDIR)/bin go install $(PARQUET_READER)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.cache/*')); \
	[ -z "$$unformatted" ] || { echo "not formatted (make fmt): $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	$(SQL) go vet ./... && go run $(STATICCHECK) ./...

.PHONY: fmt
fmt: ## gofmt everything
	gofmt -w $$(find . -name '*.go' -not -path './.cache/*')

.PHONY: deps
deps: ## install the Debian packages that are missing (as root), and make the small guest
	@test/deps.sh

.PHONY: small-guest
small-guest: ## only the small guest: .cache/guest/vmlinuz and initrd.gz
	test/guest/make-guest.sh .cache/guest

.PHONY: guest-image
guest-image: deps ## a disk with Debian and cloud-init that boots: .cache/guest/debian/debian.qcow2 (as root, a minute or two)
	test/guest/make-debian.sh .cache/guest/debian

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
