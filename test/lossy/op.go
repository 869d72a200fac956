package lossy

import "fmt"

// Kind is what an operation does.
type Kind uint8

// The operations of a disk.
const (
	Create   Kind = iota + 1 // a file, named Name in Dir, is Ino
	Mkdir                    // the same for a folder
	Symlink                  // the same for a symbolic link to Data
	Mknod                    // the same for a socket or a pipe
	Link                     // one more name for Ino
	Unlink                   // Name in Dir is gone
	Rmdir                    // the same for a folder
	Rename                   // Name in Dir is now Name2 in Dir2
	Exchange                 // Name in Dir and Name2 in Dir2 change places
	Write                    // Data at Offset of Ino
	Truncate                 // Ino has Offset bytes
	Chmod                    // Ino has Mode
	Fsync                    // what was written to Ino, or named in it if it is a folder, is safe
)

var kindNames = [...]string{"", "create", "mkdir", "symlink", "mknod", "link", "unlink", "rmdir", "rename", "exchange", "write", "truncate", "chmod", "fsync"}

func (k Kind) String() string { return kindNames[k] }

// Op is one operation that changed the disk, or synced a part of it.
type Op struct {
	Kind        Kind
	Ino         uint64
	Dir, Dir2   uint64
	Name, Name2 string
	Offset      int64
	Data        []byte
	Mode        uint32 // type and permissions, as stat gives them
	Path        string // of Ino, or of Name in Dir, when it happened: for people
}

func (o Op) String() string {
	switch o.Kind {
	case Write:
		return fmt.Sprintf("write %s: %d bytes at %d", o.Path, len(o.Data), o.Offset)
	case Truncate:
		return fmt.Sprintf("truncate %s to %d bytes", o.Path, o.Offset)
	case Rename, Exchange, Link:
		return fmt.Sprintf("%s %s: %s", o.Kind, o.Path, o.Name2)
	}
	return fmt.Sprintf("%s %s", o.Kind, o.Path)
}

// Trace is all that happened to a disk, from its being empty on.
type Trace []Op
