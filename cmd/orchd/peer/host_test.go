package peer

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/orchd/orchd/api"
)

// A host where nobody listens at libvirtd's socket is one without libvirt.
func TestAutoWithoutLibvirtd(t *testing.T) {
	cfg := Config{Driver: "auto", LibvirtURI: "qemu:///system?socket=" + filepath.Join(t.TempDir(), "sock")}
	if driver, err := resolve(t.Context(), cfg); driver != api.DriverNone || err != nil {
		t.Errorf("got driver %q, %v; want none", driver, err)
	}
}

// One that is busy may answer late, one that is absent will not, and what is refused stays refused.
func TestPatience(t *testing.T) {
	silent := &api.Error{Kind: api.Unavailable, Msg: "no answer from libvirtd", Err: errors.New("deadline")}
	absent := &api.Error{Kind: api.Unavailable, Msg: "no answer from libvirtd", Err: syscall.ECONNREFUSED}
	for name, c := range map[string]struct {
		err   error
		asked int // 0: as often as it can
	}{
		"late": {nil, 4}, "absent": {absent, 1}, "refused": {api.Errorf(api.Forbidden, "", "no"), 1}, "silent": {silent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				_, err := patiently(t.Context(), func() (int, error) {
					if asked++; c.err == nil && asked < c.asked {
						return 0, silent
					}
					return 1, c.err
				})
				if !errors.Is(err, c.err) || c.asked != 0 && asked != c.asked || c.asked == 0 && asked < 30 {
					t.Errorf("asked %d times, then %v", asked, err)
				}
			})
		})
	}
	if err := unanswered(silent); !strings.Contains(err.Error(), "deadline") || !strings.Contains(err.Error(), "systemctl status libvirtd") {
		t.Errorf("the error names neither cause nor help: %v", err)
	}
}
