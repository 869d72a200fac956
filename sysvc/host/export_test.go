package host

import (
	"context"

	"github.com/orchd/orchd/sysvc/worker"
)

// EnterFor is Enter for a function, which otherwise only a worker names.
func EnterFor(ctx context.Context, h worker.Host, alias, function string) (worker.Program, worker.Context, worker.Host, error) {
	return h.(*world).enter(ctx, alias, function)
}
