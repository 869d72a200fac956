package peer

import (
	"context"

	"github.com/orchd/orchd/api"
)

// Settings are those in force.
func (p *Peer) Settings(ctx context.Context) (api.Settings, error) {
	if err := p.node.ReadIndex(ctx); err != nil {
		return api.Settings{}, err
	}
	return p.machine.Read().Settings(), nil
}

// PatchSettings changes some of them.
func (p *Peer) PatchSettings(ctx context.Context, patch []byte) (api.Settings, error) {
	return p.writer.PatchSettings(ctx, patch)
}
