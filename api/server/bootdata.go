package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// cloudInitPart makes one of the documents that cloud-init reads (its data source
// NoCloud) out of a node, its data and that of its collections by name.
type cloudInitPart func(n inventory.ComputeNode, own inventory.CloudInit, groups map[string]map[string]string) (text []byte, contentType string, err error)

func userData(_ inventory.ComputeNode, own inventory.CloudInit, _ map[string]map[string]string) ([]byte, string, error) {
	return cloudConfig(own.UserData)
}

func vendorData(_ inventory.ComputeNode, own inventory.CloudInit, _ map[string]map[string]string) ([]byte, string, error) {
	return cloudConfig(own.VendorData)
}

// cloudConfig is a text as it stands, an object as cloud-config in YAML.
func cloudConfig(o inventory.Object) ([]byte, string, error) {
	const plain = "text/plain; charset=utf-8"
	if o == "" {
		return nil, plain, nil
	}
	var text string
	if json.Unmarshal([]byte(o), &text) == nil {
		return []byte(text), plain, nil
	}
	body, err := toYAML([]byte(o))
	return append([]byte("#cloud-config\n"), body...), "text/yaml; charset=utf-8", err
}

// metaData says who the node is, what its metadata adds or says otherwise, and
// as group_NAME what each of its collections has for it.
func metaData(n inventory.ComputeNode, own inventory.CloudInit, groups map[string]map[string]string) ([]byte, string, error) {
	all := map[string]any{"instance-id": n.ID, "local-hostname": n.Hostname}
	if n.XName != "" {
		all["xname"] = n.XName
	}
	more, err := metadataOf(own.MetaData)
	if err != nil {
		return nil, "", fmt.Errorf("metadata of node %s: %w", n.ID, err)
	}
	maps.Copy(all, more)
	for name, data := range groups {
		all["group_"+name] = data
	}
	body, err := json.Marshal(all)
	if err != nil {
		return nil, "", err
	}
	text, err := toYAML(body)
	return text, "text/yaml; charset=utf-8", err
}

// metadataOf are the keys of an object, or of a text that is YAML with keys.
// Another text stands under the key metadata.
func metadataOf(o inventory.Object) (keys map[string]any, err error) {
	if o == "" {
		return nil, nil
	}
	var text string
	if json.Unmarshal([]byte(o), &text) == nil {
		if yaml.Unmarshal([]byte(text), &keys) == nil && jsonable(keys) {
			return keys, nil
		}
		return map[string]any{"metadata": text}, nil
	}
	d := json.NewDecoder(strings.NewReader(string(o)))
	d.UseNumber() // or large numbers lose digits
	err = d.Decode(&keys)
	return keys, err
}

// jsonable tells whether YAML has keys, and nothing in it that JSON cannot say.
func jsonable(keys map[string]any) bool {
	_, err := json.Marshal(keys)
	return keys != nil && err == nil
}

// toYAML writes JSON as people write YAML. Texts keep their quotes, so that
// neither yes nor 0x10 becomes something else for a reader of YAML 1.1.
func toYAML(body []byte) ([]byte, error) {
	var tree any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	plain, err := json.Marshal(tree) // without what YAML reads otherwise: surrogate pairs, \/
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(plain, &doc); err != nil {
		return nil, err
	}
	unfold(&doc)
	return yaml.Marshal(&doc)
}

// unfold puts each member of an object or array on lines of its own.
func unfold(n *yaml.Node) {
	if len(n.Content) > 0 {
		n.Style &^= yaml.FlowStyle
	}
	for _, inner := range n.Content {
		unfold(inner)
	}
}

// ipxe is the script that boots a node (https://ipxe.org/scripting). When that
// fails it asks again after a while, at the same place, for what may have been
// mended meanwhile; key is the query that names the node there.
func ipxe(n inventory.ComputeNode, key string) (string, error) {
	b := n.BootData
	if b == nil || b.KernelURL == "" {
		return "", api.Errorf(api.NotFound, "boot", "the node has no boot data with a kernel_url")
	}
	for field, value := range map[string]string{"kernel_url": b.KernelURL, "image_url": b.ImageURL} {
		if strings.ContainsAny(value, " \t") || strings.HasPrefix(value, "-") || !oneCommand(value) {
			return "", notOneCommand(n, field)
		}
	}
	if !oneCommand(b.KernelCommandLine) {
		return "", notOneCommand(n, "kernel_command_line")
	}
	var script strings.Builder
	line := func(words ...string) {
		for i, word := range words {
			if i > 0 && word != "" {
				script.WriteByte(' ')
			}
			script.WriteString(word)
		}
		script.WriteByte('\n')
	}
	line("#!ipxe")
	if b.ImageURL == "" {
		line("kernel --name kernel", b.KernelURL, b.KernelCommandLine, "|| goto retry")
	} else {
		line("kernel --name kernel", b.KernelURL, "initrd=initrd", b.KernelCommandLine, "|| goto retry")
		line("initrd --name initrd", b.ImageURL, "|| goto retry")
	}
	line("boot || goto retry")
	line(":retry")
	line("sleep 30")
	line("chain --replace bootscript?" + key)
	return script.String(), nil
}

// oneCommand tells whether a value ends neither the line that it stands in, nor the
// command, nor what is read of the line.
func oneCommand(value string) bool {
	for _, r := range value {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r <= 0x9f || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	for _, word := range strings.Fields(value) {
		if word == "||" || word == "&&" || word == ";" || word[0] == '#' {
			return false
		}
	}
	return true
}

func notOneCommand(n inventory.ComputeNode, field string) error {
	return api.Errorf(api.Conflict, "boot", "%s in the boot_data of node %s holds what would end its line in a boot script, or begin another command; mend it there", field, n.ID)
}
