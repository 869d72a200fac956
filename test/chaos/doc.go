// Package chaos breaks clusters of real processes while clients work on them, and
// judges what the clients saw.
//
// A run forms a cluster of three or five hosts in network namespaces, with real
// fsync and real TLS, starts the clients, and breaks one thing after the other:
// processes, networks, disks, files, membership, load. After each fault everything is
// healed, and a write must be acknowledged within 5 s. At the end all peers must
// agree, byte for byte, and the history of all operations is judged by package
// history with the log that they led to.
//
// A seed fixes what is done, in which order and to whom; it does not fix how the
// processes take turns, so a seed that found something may have to be run again and
// again. A run that did too little is void, which is a failure too.
//
//	go test ./test/chaos -run '^TestChaos$' -v            two thirds of a minute, with a seed of the commit
//	SEED=7 MINUTES=8 go test ./test/chaos -run '^TestChaos$' -v -timeout 30m
//	ONLY='kill|pause' ...                                 only faults whose name matches
//	KEEP=/tmp/chaos ...                                   where artifacts of a failure go
//
// Faults are in faults_*.go, one function each; work_*.go is what clients do;
// final.go is what must hold at the end. regress_test.go runs what once failed.
package chaos
