package server

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/orchd/orchd/api"
)

// Keys, RotateKey and ExportKeys are the cluster's keys, of which the fake has one.
func (f *fake) Keys(context.Context) (api.Keys, error) {
	return api.Keys{Keys: []api.KeyView{{Name: "key.seal", Kind: api.KeySeal, InUse: true}}}, nil
}

func (f *fake) RotateKey(ctx context.Context, r api.KeyRotate) (Done[api.KeyRotation], error) {
	if err := f.write(ctx, fmt.Sprintf("keys.rotate %s %v", r.Kind, r.Now)); err != nil {
		return Done[api.KeyRotation]{}, err
	}
	return Done[api.KeyRotation]{Object: api.KeyRotation{Kind: r.Kind, Step: "resealing", Key: "key.seal.2", Old: "key.seal"}}, nil
}

func (f *fake) ExportKeys(ctx context.Context, to api.KeyExport) (api.KeyCopy, error) {
	return api.KeyCopy{File: []byte("encrypted")}, f.write(ctx, "keys.export "+to.Recipient)
}

// TransferLeadership has the fake's one peer lead.
func (f *fake) TransferLeadership(ctx context.Context, to string) (api.Leadership, error) {
	return api.Leadership{Leader: "h1", Was: "h2", Term: 3}, f.write(ctx, "raft.transfer "+to)
}

func TestTransferNeedsNoBody(t *testing.T) {
	f, _, ask := startFake(t)
	for body, want := range map[string]int{``: 200, `{}`: 200, `{"peer":"h9"}`: 404, `{"to":"h1"}`: 422} {
		if res := ask("POST", "/v1/raft/transfer-leader", body); res.StatusCode != want {
			t.Errorf("%q is answered %d, want %d", body, res.StatusCode, want)
		}
	}
	for _, wrote := range f.wroteSince(0) {
		if wrote != "raft.transfer " {
			t.Errorf("the backend was asked for %q", wrote)
		}
	}
}

func TestOnlyTheCAIsReplacedInAHurry(t *testing.T) {
	_, _, ask := startFake(t)
	for body, want := range map[string]int{`{"kind":"ca","now":true}`: 202, `{"kind":"seal","now":true}`: 422, `{"kind":"wrap"}`: 422, `{}`: 422} {
		if res := ask("POST", "/v1/keys/rotate", body); res.StatusCode != want {
			t.Errorf("%s is answered %d, want %d", body, res.StatusCode, want)
		}
	}
	if res := ask("GET", "/v1/keys", "", "Authorization", "Bearer operator"); res.StatusCode != http.StatusForbidden {
		t.Errorf("an operator gets %d for the keys", res.StatusCode)
	}
}
