package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// target is a fuzz target.
type target struct {
	pkg  string // import path
	dir  string // of its package
	deps []string
	name string
}

func (t target) String() string { return t.pkg + " " + t.name }

// find reads the test files of packages for targets whose names match, in order of
// package and file. To ask the compiled tests would take minutes to compile them all.
func find(ctx context.Context, module string, packages []string, wanted *regexp.Regexp) (targets []target, err error) {
	list := exec.CommandContext(ctx, "go", slices.Concat([]string{"list", "-json=ImportPath,Dir,Deps,TestGoFiles,XTestGoFiles"}, packages)...)
	list.Dir = module
	out, err := list.Output()
	if err != nil {
		if exit, is := errors.AsType[*exec.ExitError](err); is {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir                 string
			Deps, TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return targets, nil
		} else if err != nil {
			return nil, err
		}
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			names, err := targetsIn(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if wanted.MatchString(name) {
					targets = append(targets, target{p.ImportPath, p.Dir, p.Deps, name})
				}
			}
		}
	}
}

// isTarget is how go test tells targets from other functions, whose names may go on
// in small letters. It refuses what is named so and takes something else.
var isTarget = regexp.MustCompile(`^Fuzz(\P{Ll}|$)`)

// targetsIn names the targets of a file.
func targetsIn(file string) (names []string, err error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Decls {
		f, is := d.(*ast.FuncDecl)
		if is && f.Recv == nil && isTarget.MatchString(f.Name.Name) {
			names = append(names, f.Name.Name)
		}
	}
	return names, nil
}

// cacheDir is where go keeps what it built; inputs of interest are kept there, too.
func cacheDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	return strings.TrimSpace(string(out)), err
}
