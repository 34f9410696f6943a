// Command sumdb checks exports and proof files of the journal with the code of Go's checksum database
// (golang.org/x/mod/sumdb), none of which comes from this project.
//
//	sumdb export DIR VKEY       checkpoint signature, every tile, every entry, the root
//	sumdb proof  VKEY FILE...   c2sp.org/tlog-proof@v1 files that carry their leaf in "extra"
//
// It prints one line and exits with 0 when all is right, and says what is wrong and exits with 1 otherwise.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8
const tileWidth = 1 << tileHeight

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sumdb:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "export":
		return checkExport(args[1], args[2])
	case len(args) >= 3 && args[0] == "proof":
		for _, file := range args[2:] {
			if err := checkProof(args[1], file); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		fmt.Printf("%d proofs are right\n", len(args)-2)
		return nil
	}
	return errors.New("usage: sumdb export DIR VKEY | sumdb proof VKEY FILE...")
}

// openCheckpoint returns the tree that a signed checkpoint states.
func openCheckpoint(signed []byte, vkeyFile string) (tlog.Tree, error) {
	vkey, err := os.ReadFile(vkeyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(vkey), "\n"))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// exportedTiles reads tiles from an export, whose paths lack the height that Go's have.
type exportedTiles struct{ dir string }

func (t exportedTiles) Height() int { return tileHeight }

func (t exportedTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t exportedTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func checkExport(dir, vkeyFile string) error {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(signed, vkeyFile)
	if err != nil {
		return err
	}
	// This reader checks every tile that it reads against the signed root.
	tiles := tlog.TileHashReader(tree, exportedTiles{dir})
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for first := int64(0); first < tree.N; first += tileWidth {
		entries, err := readBundle(dir, first/tileWidth, min(tree.N-first, tileWidth))
		if err != nil {
			return err
		}
		var indexes []int64
		for i := range entries {
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
		}
		hashes, err := tiles.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			hash := tlog.RecordHash(entry)
			if hash != hashes[i] {
				return fmt.Errorf("entry %d is not the one in its tile", first+int64(i))
			}
			more, err := tlog.StoredHashesForRecordHash(first+int64(i), hash, reader)
			if err != nil {
				return err
			}
			stored = append(stored, more...)
		}
	}
	if err := checkUpperTiles(dir, tree, reader); err != nil {
		return err
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if tree.N > 0 && (err != nil || root != tree.Hash) {
		return fmt.Errorf("the entries have the root %v, the checkpoint says %v (%v)", root, tree.Hash, err)
	}
	fmt.Printf("%d entries are right, root %v\n", tree.N, root)
	return nil
}

// checkUpperTiles compares every tile with the one that follows from the entries.
func checkUpperTiles(dir string, tree tlog.Tree, reader tlog.HashReader) error {
	for _, tile := range tlog.NewTiles(tileHeight, 0, tree.N) {
		// Go lists a partial tile of every width up to the last; an export holds the last.
		if int64(tile.W) != min(tree.N>>(tileHeight*tile.L)-tile.N*tileWidth, tileWidth) {
			continue
		}
		expected, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return err
		}
		found, err := exportedTiles{dir}.ReadTiles([]tlog.Tile{tile})
		if err != nil {
			return err
		}
		if string(found[0]) != string(expected) {
			return fmt.Errorf("%s does not follow from the entries", tile.Path())
		}
	}
	return nil
}

func readBundle(dir string, index, width int64) ([][]byte, error) {
	tile := tlog.Tile{H: tileHeight, L: -1, N: index, W: int(width)}
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/data/", tileHeight), "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s is cut short", path)
		}
		length := int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:2+length])
		data = data[2+length:]
	}
	if int64(len(entries)) != width {
		return nil, fmt.Errorf("%s has %d entries instead of %d", path, len(entries), width)
	}
	return entries, nil
}

func checkProof(vkeyFile, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(data), "\n\n")
	if !found {
		return errors.New("no empty line")
	}
	tree, err := openCheckpoint([]byte(signed), vkeyFile)
	if err != nil {
		return err
	}
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof file")
	}
	leaf, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf))
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
