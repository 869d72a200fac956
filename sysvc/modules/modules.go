// Package modules keeps the bytes of modules in a folder, a file each, named by the
// SHA-256 of what is in it. A module that is not here comes from another peer. What is
// read is verified each time, so what a caller gets is what the log names.
package modules

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/sysvc/state"
)

// Store is such a folder.
type Store struct {
	root *os.Root
	from state.Fetcher

	mu       sync.Mutex
	fetching map[string]chan struct{} // by digest; closed when the fetch has ended
}

var _ state.Modules = (*Store)(nil)

// temporary is what the names of files begin with that are not whole yet.
const temporary = ".new-"

// Open opens the folder dir, which is made if it is not there. Modules that it lacks
// are fetched with from; nil: from nobody.
func Open(dir string, from state.Fetcher) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open modules: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open modules: %w", err)
	}
	s := &Store{root: root, from: from, fetching: map[string]chan struct{}{}}
	if err := s.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("open modules: %w", err), root.Close())
	}
	return s, nil
}

// Close lets go of the folder.
func (s *Store) Close() error { return s.root.Close() }

// clean removes what a process that ended in the middle of a Put has left.
func (s *Store) clean() error {
	left, err := s.names()
	if err != nil {
		return err
	}
	for _, name := range left {
		if strings.HasPrefix(name, temporary) {
			err = errors.Join(err, s.root.Remove(name))
		}
	}
	return err
}

func (s *Store) names() (names []string, err error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Digest is the name of a module with this content.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// isDigest keeps names that come from outside from being anything but digests.
func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size && s == strings.ToLower(s)
}

// Put keeps a module. One that is here already counts as new again for Sweep.
func (s *Store) Put(content []byte) (digest string, err error) {
	digest = Digest(content)
	if len(content) > api.MaxModule {
		return digest, fmt.Errorf("keep module %s: it has %d bytes, more than %d", digest, len(content), api.MaxModule)
	}
	if _, err := s.read(digest); err == nil {
		now := time.Now()
		return digest, s.root.Chtimes(digest, now, now)
	}
	if err := s.write(digest, content); err != nil {
		return digest, fmt.Errorf("keep module %s: %w", digest, err)
	}
	return digest, nil
}

// write makes the file whole before it has its name, also when the power fails.
func (s *Store) write(digest string, content []byte) (err error) {
	name := temporary + rand.Text()
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.root.Rename(name, digest)
	}
	if err != nil {
		return errors.Join(err, ignoreAbsent(s.root.Remove(name)))
	}
	return s.sync()
}

// sync makes the names in the folder last.
func (s *Store) sync() error {
	dir, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// errRotten: the file is not what its name says.
var errRotten = errors.New("its file is damaged")

// read gives a module that is here and whole.
func (s *Store) read(digest string) ([]byte, error) {
	f, err := s.root.Open(digest)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, api.MaxModule+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if Digest(content) != digest {
		return nil, errRotten
	}
	return content, nil
}

// Has tells whether there is a file for a module; it does not read it.
func (s *Store) Has(digest string) bool {
	if !isDigest(digest) {
		return false
	}
	_, err := s.root.Stat(digest)
	return err == nil
}

// Serve gives a module that is here to another peer. NotFound: it is not, or is damaged.
func (s *Store) Serve(digest string) (io.ReadSeekCloser, error) {
	if !isDigest(digest) {
		return nil, api.Errorf(api.Invalid, "module", "%q is no SHA-256 in hex", digest)
	}
	content, err := s.read(digest)
	if err != nil {
		return nil, &api.Error{Kind: api.NotFound, Op: "module", Msg: "this peer has no module " + digest, Err: err}
	}
	return served{bytes.NewReader(content)}, nil
}

type served struct{ *bytes.Reader }

func (served) Close() error { return nil }

// Module gives a module, which is fetched when it is not here or is damaged.
// Several who ask at once wait for one fetch.
func (s *Store) Module(ctx context.Context, digest string) ([]byte, error) {
	if !isDigest(digest) {
		return nil, api.Errorf(api.Invalid, "module", "%q is no SHA-256 in hex", digest)
	}
	for {
		content, err := s.read(digest)
		if err == nil {
			return content, nil
		}
		ended, mine := s.begin(digest)
		if mine {
			return s.fetch(ctx, digest, ended, err)
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin tells whether the caller is the one who fetches; everybody else waits for ended.
func (s *Store) begin(digest string) (ended chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended, there := s.fetching[digest]; there {
		return ended, false
	}
	ended = make(chan struct{})
	s.fetching[digest] = ended
	return ended, true
}

func (s *Store) fetch(ctx context.Context, digest string, ended chan struct{}, why error) ([]byte, error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.fetching, digest)
		close(ended)
	}()
	if content, err := s.read(digest); err == nil { // somebody else's fetch ended meanwhile
		return content, nil
	}
	content, err := s.ask(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("fetch module %s, which is not here (%w): %w", digest, why, err)
	}
	if err := s.write(digest, content); err != nil {
		return nil, fmt.Errorf("keep module %s: %w", digest, err)
	}
	return content, nil
}

// ask brings a module from another peer and looks whether it is the right one.
func (s *Store) ask(ctx context.Context, digest string) ([]byte, error) {
	if s.from == nil {
		return nil, errors.New("there is nobody to ask for it")
	}
	body, err := s.from.FetchModule(ctx, digest)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(body, api.MaxModule+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	switch {
	case len(content) > api.MaxModule:
		return nil, fmt.Errorf("what came has more than %d bytes", api.MaxModule)
	case Digest(content) != digest:
		return nil, fmt.Errorf("what came has the digest %s", Digest(content))
	}
	return content, nil
}

// sweepAfter is how old a file is at least that Sweep removes: a module is kept before
// the log names it.
const sweepAfter = time.Hour

// Sweep removes the modules that are not among keep and were put here more than an hour before now.
func (s *Store) Sweep(keep map[string]bool, now time.Time) error {
	names, err := s.names()
	if err != nil {
		return fmt.Errorf("sweep modules: %w", err)
	}
	var errs []error
	for _, name := range names {
		info, err := s.root.Lstat(name)
		if keep[name] || err != nil || now.Sub(info.ModTime()) <= sweepAfter {
			continue
		}
		errs = append(errs, ignoreAbsent(s.root.Remove(name)))
	}
	return errors.Join(errs...)
}
