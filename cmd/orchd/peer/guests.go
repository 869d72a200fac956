package peer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/vmm"
)

// What is done on a virtual machine's own host is asked of any peer: who does not
// own the VM passes it on over the peer channel.

// maxScreenshot is how many bytes a picture of a screen may have.
const maxScreenshot = 64 << 20

// Console opens the serial console of a VM that is on.
func (p *Peer) Console(ctx context.Context, vm api.VM) (io.ReadWriteCloser, error) {
	if vm.Status.OwnerID == p.identity.PeerID {
		return p.ownConsole(ctx, vm.ID)
	}
	there, here := io.Pipe()
	resp, err := p.request(ctx, vm.Status.OwnerID, http.MethodPost, "/peer/vms/"+vm.ID+"/console", there)
	if err != nil {
		here.Close()
		return nil, err
	}
	return remoteConsole{resp.Body, here}, nil
}

// remoteConsole is a console on another peer: what is read is the body of an
// answer, what is written that of the question.
type remoteConsole struct {
	io.ReadCloser
	in *io.PipeWriter
}

func (c remoteConsole) Write(b []byte) (int, error) { return c.in.Write(b) }
func (c remoteConsole) Close() error                { return errors.Join(c.in.Close(), c.ReadCloser.Close()) }

// ownConsole is Console on the owner.
func (p *Peer) ownConsole(ctx context.Context, vm string) (io.ReadWriteCloser, error) {
	hv, err := p.hostOf(vm)
	if err != nil {
		return nil, err
	}
	return hv.Console(ctx, vm)
}

// serveConsole joins another peer's request with a console here until either ends.
func (p *Peer) serveConsole(w http.ResponseWriter, r *http.Request) {
	console, err := p.ownConsole(r.Context(), r.PathValue("id"))
	if err != nil {
		answerPeer(w, nil, err)
		return
	}
	defer console.Close()
	stop := context.AfterFunc(r.Context(), func() { console.Close() }) // it ends the copying below
	defer stop()
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	go func() {
		io.Copy(console, r.Body) // ends with the request
		console.Close()
	}()
	io.Copy(flushing{w, flush}, console) // whoever looks at it has gone, or the guest is off
}

// flushing sends what is written at once.
type flushing struct {
	w     io.Writer
	flush func() error
}

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	return n, errors.Join(err, f.flush())
}

// ConsoleLog opens what a VM's console has said, up to its last max bytes.
func (p *Peer) ConsoleLog(ctx context.Context, vm api.VM, max int64) (io.ReadCloser, error) {
	if vm.Status.OwnerID == p.identity.PeerID {
		hv, err := p.hostOf(vm.ID)
		if err != nil {
			return nil, err
		}
		return hv.ConsoleLog(ctx, vm.ID, max)
	}
	resp, err := p.request(ctx, vm.Status.OwnerID, http.MethodGet, "/peer/vms/"+vm.ID+"/console-log?max="+strconv.FormatInt(max, 10), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func (p *Peer) serveConsoleLog(w http.ResponseWriter, r *http.Request) {
	max, err := strconv.ParseInt(r.URL.Query().Get("max"), 10, 64)
	if err != nil {
		answerPeer(w, nil, api.Errorf(api.Malformed, "vm.console", "max is no number"))
		return
	}
	log, err := p.ConsoleLog(r.Context(), p.asOwned(r.PathValue("id")), max)
	p.send(w, log, err)
}

// Screenshot is what a VM that is on shows on its screen, as PNG.
func (p *Peer) Screenshot(ctx context.Context, vm api.VM) ([]byte, error) {
	if vm.Status.OwnerID == p.identity.PeerID {
		hv, err := p.hostOf(vm.ID)
		if err != nil {
			return nil, err
		}
		return hv.Screenshot(ctx, vm.ID)
	}
	resp, err := p.request(ctx, vm.Status.OwnerID, http.MethodGet, "/peer/vms/"+vm.ID+"/screenshot", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxScreenshot))
}

func (p *Peer) serveScreenshot(w http.ResponseWriter, r *http.Request) {
	png, err := p.Screenshot(r.Context(), p.asOwned(r.PathValue("id")))
	if err != nil {
		answerPeer(w, nil, err)
		return
	}
	w.Write(png)
}

// asOwned is a VM that another peer takes this one to own.
func (p *Peer) asOwned(id string) api.VM {
	return api.VM{ID: id, Status: api.VMStatus{OwnerID: p.identity.PeerID}}
}

// hostOf is this host's hypervisor, for a VM that this peer owns.
func (p *Peer) hostOf(vm string) (vmm.Hypervisor, error) {
	row, known := p.machine.Read().VM(vm)
	switch {
	case !known:
		return nil, api.Errorf(api.NotFound, "vm", "no VM %s", vm)
	case row.Status.OwnerID != p.identity.PeerID:
		return nil, api.Errorf(api.Unavailable, "vm", "VM %s is owned by %s now; try again", row.Name, row.Status.Owner)
	case p.hypervisor == nil:
		return nil, api.Errorf(api.Conflict, "vm", "peer %s runs no virtual machines (driver none)", p.identity.Name)
	}
	return p.hypervisor, nil
}

// send copies a stream to another peer, or says why there is none.
func (p *Peer) send(w http.ResponseWriter, from io.ReadCloser, err error) {
	if err != nil {
		answerPeer(w, nil, err)
		return
	}
	defer from.Close()
	if _, err := io.Copy(w, from); err != nil {
		p.log.Debug("not sent whole to a peer", "err", err)
	}
}
