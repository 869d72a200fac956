package snapshot

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// defaultPace is how many bytes a second are read again: 10 GiB in five minutes.
const defaultPace = 32 << 20

// paceStep is the shortest pause worth a timer.
const paceStep = 5 * time.Millisecond

// pace lets bytes pass no faster than so many a second, until ctx ends.
type pace struct {
	ctx       context.Context
	perSecond int
	due       time.Time // when as many as passed may have passed
}

// passed waits until n bytes more may have passed.
func (p *pace) passed(n int) error {
	now := time.Now()
	if p.due.Before(now) {
		p.due = now // what was not used is no reason to hurry
	}
	p.due = p.due.Add(time.Duration(n) * time.Second / time.Duration(p.perSecond))
	ahead := p.due.Sub(now)
	if ahead < paceStep {
		return p.ctx.Err()
	}
	pause := time.NewTimer(ahead)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// read gives what the disk holds of a file, not what memory remembers of it, and
// leaves nothing of it in the page cache, which has better things to remember.
func (p *pace) read(f *os.File) io.Reader {
	forgetPages(f)
	return &pacedFile{f, p}
}

type pacedFile struct {
	file *os.File
	pace *pace
}

func (r *pacedFile) Read(b []byte) (int, error) {
	n, err := r.file.Read(b)
	if late := r.pace.passed(n); late != nil {
		return n, late
	}
	if err != nil {
		forgetPages(r.file)
	}
	return n, err
}

// forgetPages is a hint: pages that are not written yet stay, and some file systems take none.
func forgetPages(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
