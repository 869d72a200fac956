package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/test/lab"
)

const (
	besides = 25 // creates by each, taking turns
	// calm lets what follows a create or an end pass: a notice, a look at all domains.
	calm = time.Second
)

// measureBesideVirsh prints how much longer than virsh create orchd takes until the
// same guest runs. The two take turns, and one guest runs at a time.
func measureBesideVirsh(ctx context.Context, g *ground) error {
	if err := g.catalogue(ctx); err != nil {
		return err
	}
	if err := g.smallDisk(ctx); err != nil {
		return err
	}
	b := &beside{ground: g, host: g.Host(0), steps: map[string]*times{}}
	for k := -1; k < besides; k++ { // the first finds nothing in any cache and does not count
		if err := b.turn(ctx, k); err != nil {
			return err
		}
	}
	table([]string{"", "creates", "p50 ms", "p95 ms", "max ms"}, [][]string{
		b.row("virsh create, its disk made before", &b.virsh), b.row("orchd, POST to running", &b.orchd), b.row("more by", &b.more)})
	var rows [][]string
	for _, name := range b.order {
		t := b.steps[name]
		rows = append(rows, []string{name, ms(t.at(0.5)), ms(t.at(0.95))})
	}
	table([]string{"step of the operation", "p50 ms", "p95 ms"}, rows)
	return nil
}

// beside is one VM after the other on one host, made by orchd and by virsh.
type beside struct {
	*ground
	host               *lab.Host
	virsh, orchd, more times
	steps              map[string]*times
	order              []string
}

func (b *beside) row(name string, t *times) []string {
	return []string{name, fmt.Sprint(besides), ms(t.at(0.5)), ms(t.at(0.95)), ms(t.max())}
}

// turn makes a VM by orchd, and the same by virsh.
func (b *beside) turn(ctx context.Context, k int) error {
	c := usual(fmt.Sprintf("guest-%d", k+1))
	c.Spec.Placement.Peer = b.host.Name
	asked := b.Host((k + 1) % len(b.Hosts())) // its owner, or another
	vm, byOrchd, err := b.create(ctx, asked, c)
	if err != nil {
		return err
	}
	twin, err := newTwin(b.ground, b.host, vm, k)
	if err != nil {
		return err
	}
	op, err := b.remove(ctx, vm)
	if err != nil {
		return err
	}
	time.Sleep(calm)
	byVirsh, err := twin.create()
	if err != nil {
		return err
	}
	b.host.Virsh("destroy", twin.id)
	time.Sleep(calm)
	if k >= 0 {
		b.orchd.add(byOrchd)
		b.virsh.add(byVirsh)
		b.more.add(byOrchd - byVirsh)
		b.count(op)
	}
	return nil
}

// count takes in what the steps of a create took.
func (b *beside) count(op api.Operation) {
	for _, s := range op.Steps {
		if b.steps[s.Name] == nil {
			b.steps[s.Name] = &times{}
			b.order = append(b.order, s.Name)
		}
		b.steps[s.Name].add(time.Duration(s.TookMs) * time.Millisecond)
	}
}

// create makes a VM and waits until it runs.
func (b *beside) create(ctx context.Context, asked *lab.Host, c api.VMCreate) (vm api.VM, took time.Duration, err error) {
	u, err := b.user(ctx, asked)
	if err != nil {
		return vm, 0, err
	}
	defer u.http.CloseIdleConnections()
	sent := time.Now()
	a, err := u.do(ctx, http.MethodPost, "/v1/vms?wait=60s", c, http.StatusCreated, "Idempotency-Key: "+uuid.NewString())
	took = time.Since(sent)
	if err == nil {
		err = json.Unmarshal(a.Body, &vm)
	}
	if err == nil && vm.Status.State != api.VMRunning {
		err = fmt.Errorf("%s is %s: %s", vm.Name, vm.Status.State, vm.Status.Reason)
	}
	return vm, took, err
}

// remove deletes a VM and gives the operation that made it.
func (b *beside) remove(ctx context.Context, vm api.VM) (made api.Operation, err error) {
	c, err := b.admin(b.host)
	if err != nil {
		return made, err
	}
	defer c.Close()
	if made, err = c.Operation(ctx, vm.Status.Operation); err != nil {
		return made, err
	}
	gone, err := c.DeleteVM(ctx, vm.ID, api.WithWait(time.Minute))
	if err == nil && gone.State != api.OpSucceeded {
		err = fmt.Errorf("the delete of %s is %s: %s", vm.Name, gone.State, gone.Error)
	}
	return made, err
}

// smallDisk uploads a disk that boots the small guest.
func (g *ground) smallDisk(ctx context.Context) error {
	dir := g.Folder("guest")
	if out, err := exec.CommandContext(ctx, "test/guest/make-small-disk.sh", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("make the small disk: %w\n%s", err, out)
	}
	c, err := g.admin(g.Host(0))
	if err != nil {
		return err
	}
	defer c.Close()
	image, err := c.CreateImage(ctx, api.ImageCreate{Name: "debian", Source: api.SourceUpload, Format: "qcow2"})
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, "small.qcow2"))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := c.Upload(ctx, api.ImageContentPath(image.ID), f, info.Size(), nil); err != nil {
		return err
	}
	for range 600 {
		if image, err = c.Image(ctx, image.ID); err != nil || image.State == api.ImageAvailable {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the image is %s: %s", image.State, image.Reason)
}

// twin is a domain as orchd made one, with files of its own and without orchd's mark.
type twin struct {
	host     *lab.Host
	id, file string
}

// newTwin writes down the twin of a VM's domain and makes its disk.
func newTwin(g *ground, host *lab.Host, vm api.VM, k int) (twin, error) {
	t := twin{host: host, id: uuid.NewString()}
	var d libvirtxml.Domain
	if err := d.Unmarshal(host.Virsh("dumpxml", "--inactive", vm.ID)); err != nil {
		return t, err
	}
	dir := g.Folder("twins")
	if err := os.Chmod(dir, 0o777); err != nil { // QEMU runs as libvirt's own user
		return t, err
	}
	path := func(end string) string { return filepath.Join(dir, fmt.Sprintf("%s-%d%s", host.Name, k+1, end)) }
	d.Name, d.UUID, d.Metadata = fmt.Sprintf("twin-%d", k+1), t.id, nil
	for i := range d.Devices.Serials {
		s := &d.Devices.Serials[i]
		s.Source.UNIX.Path, s.Log.File = path(".sock"), path(".log")
	}
	for i := range d.Devices.Disks {
		if err := twinDisk(host, &d.Devices.Disks[i], path); err != nil {
			return t, err
		}
	}
	text, err := d.Marshal()
	if err != nil {
		return t, err
	}
	t.file = path(".xml")
	return t, os.WriteFile(t.file, []byte(text), 0o644)
}

// twinDisk gives a disk of a twin a file: an overlay on the same image, or a copy of the seed.
func twinDisk(host *lab.Host, disk *libvirtxml.DomainDisk, path func(end string) string) error {
	source := disk.Source.File
	if disk.ReadOnly != nil {
		seed := path(".iso")
		err := copyFile(seed, source.File)
		source.File = seed
		return err
	}
	source.File = path(".qcow2")
	below := disk.BackingStore
	_, err := host.Output("qemu-img", "create", "-q", "-f", "qcow2", "-b", below.Source.File.File, "-F", below.Format.Type, source.File, "1G")
	return err
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// create has virsh create the twin: the time is that of the command.
func (t twin) create() (time.Duration, error) {
	began := time.Now()
	_, err := t.host.Output("virsh", "-q", "-c", "qemu:///system", "create", t.file)
	return time.Since(began), err
}
