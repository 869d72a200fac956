package libvirt

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"

	"github.com/orchd/orchd/api"
)

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]address{
		"qemu:///system":                {defaultSocket, "qemu:///system"},
		"qemu:///system?socket=/a/sock": {"/a/sock", "qemu:///system"},
		"test:///default":               {defaultSocket, "test:///default"},
		"qemu+ssh://h1/system":          {},
		"qemu://h1/system":              {},
		"qemu":                          {},
		"":                              {},
	} {
		got, err := parseURI(uri)
		if got != want || (err == nil) != (want != address{}) {
			t.Errorf("parse %q: got %+v, %v; want %+v", uri, got, err, want)
		}
	}
}

// silent is a libvirtd that takes connections and never says a word.
func silent(t *testing.T) address {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	return address{socket, "qemu:///system"}
}

func TestSilentDaemonIsNotWaitedFor(t *testing.T) {
	k := newLink(silent(t), 1)
	defer k.close()
	began := time.Now()
	err := k.call(t.Context(), "test", 50*time.Millisecond, func(rpc *golibvirt.Libvirt) error { return nil })
	if !api.IsKind(err, api.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call: got %v, want unavailable because of the deadline", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("call took %v, want about its limit of 50ms", took)
	}
}

func TestDetect(t *testing.T) {
	for name, socket := range map[string]string{
		"nobody there": filepath.Join(t.TempDir(), "s"),
		"silent":       silent(t).socket,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if got, err := Detect(ctx, "qemu:///system?socket="+socket); got != api.DriverNone || err == nil {
			t.Errorf("%s: got %q, %v; want none with a reason", name, got, err)
		}
	}
}

func TestClosedLinkStaysClosed(t *testing.T) {
	k := newLink(silent(t), 1)
	k.close()
	if err := k.call(t.Context(), "test", time.Second, func(*golibvirt.Libvirt) error { return nil }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("call: got %v, want %v", err, net.ErrClosed)
	}
}
