package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// instrument makes the compiler count which way an input takes.
const instrument = "-d=libfuzzer"

// heavy ends the import path of a package that takes a minute of processor time to compile.
const heavy = "/fsm"

// batch is what one go test -c builds: packages with the same flags, each of another name.
type batch struct {
	flags    []string
	packages []string
}

// batches divides the packages of targets. go test -fuzz would instrument all that a test is
// made of, the standard library too, for one package at a time: that takes minutes to
// compile, and where all of orchd is linked the counters alone are more than a target gets
// through in seconds. Here it is the module's packages; and of what is made of the heavy
// package the package under test alone, for then the heavy one is there as go build left it.
func batches(targets []target) (all []batch) {
	light, above := map[string]bool{}, map[string]bool{}
	for _, t := range targets {
		if slices.ContainsFunc(t.deps, func(dep string) bool { return strings.HasSuffix(dep, heavy) }) {
			above[t.pkg] = true
		} else {
			light[t.pkg] = true
		}
	}
	var each []string
	for _, pkg := range slices.Sorted(maps.Keys(above)) {
		each = append(each, "-gcflags="+pkg+"="+instrument)
	}
	all = append(all, named(slices.Sorted(maps.Keys(light)), []string{"-gcflags=./...=" + instrument})...)
	return append(all, named(slices.Sorted(maps.Keys(above)), each)...)
}

// named makes batches, in each of which no two packages' paths end in the same name: their
// programs lie in one folder.
func named(packages, flags []string) (all []batch) {
	times := map[string]int{}
	for _, pkg := range packages {
		n := times[path.Base(pkg)]
		times[path.Base(pkg)]++
		if n == len(all) {
			all = append(all, batch{flags: flags})
		}
		all[n].packages = append(all[n].packages, pkg)
	}
	return all
}

// build builds the test programs of all packages below folder, and names them by package.
func build(ctx context.Context, module, folder string, targets []target) (programs map[string]string, err error) {
	programs = map[string]string{}
	for i, b := range batches(targets) {
		dir := filepath.Join(folder, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		args := slices.Concat([]string{"test", "-c", "-ldflags=-s -w", "-o", dir + "/"}, b.flags, b.packages)
		compile := exec.CommandContext(ctx, "go", args...)
		compile.Dir = module
		if said, err := compile.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the tests of %v: %w: %s", b.packages, err, said)
		}
		for _, pkg := range b.packages {
			programs[pkg] = filepath.Join(dir, path.Base(pkg)+".test")
		}
	}
	return programs, nil
}
