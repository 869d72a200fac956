// Command summary reads what go test -json prints and tells it shortly: a line
// for each package, all that failed tests said, which tests were skipped and why,
// and a last line that counts.
//
// It fails when a test failed or when nothing ran; in CI (CI=true) also when a
// test was skipped, so that nothing that needs root or libvirt is left out in
// silence.
//
//	go test -json ./... | summary
package main

import (
	"fmt"
	"os"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	s.finish()
	if why := s.verdict(os.Getenv("CI") == "true"); why != "" {
		fmt.Fprintln(os.Stderr, "FAIL:", why)
		os.Exit(1)
	}
}
