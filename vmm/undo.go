package vmm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/orchd/orchd/api"
)

// undoList unmakes what was made, the last first.
type undoList []undo

type undo struct {
	what string
	f    func(context.Context) error
}

// undoWait is how long unmaking may take in all, also when the host is shutting down.
const undoWait = 30 * time.Second

func (u *undoList) add(what string, f func(context.Context) error) { *u = append(*u, undo{what, f}) }

// leftBehind names what could not be unmade; a person has to do it.
type leftBehind struct{ errs []error }

func (l *leftBehind) Error() string   { return "left behind: " + errors.Join(l.errs...).Error() }
func (l *leftBehind) Unwrap() []error { return l.errs }

// run unmakes everything up to the first thing that it cannot: what was made before
// that is what that stands on, as a domain on its disk.
func (u undoList) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWait)
	defer cancel()
	var errs []error
	for _, one := range slices.Backward(u) {
		if len(errs) > 0 {
			errs = append(errs, errors.New(one.what))
			continue
		}
		if err := one.f(ctx); err != nil && !api.IsKind(err, api.NotFound) {
			errs = append(errs, fmt.Errorf("%s: %w", one.what, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &leftBehind{errs}
}
