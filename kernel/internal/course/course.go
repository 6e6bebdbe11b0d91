// Package course writes what a teacher begins with: a course's folder as nbgrader has it, with an assignment in Go.
//
//	files, err := course.Write("course", "week1", course.Tools{Python: p.Python(), Jupyter: p.Jupyter()})
package course

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"text/template"
)

// The cells of the assignment, in the order of the notebook, and the text beside it.
var (
	//go:embed assignment.txt
	assignment string
	//go:embed readme.txt
	readme string
)

// Tools is where the commands of the text beside the assignment find nbgrader and the kernel.
type Tools struct {
	Python  string // the environment's folder
	Jupyter string // the folder of the kernelspecs, for JUPYTER_PATH
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// Check says what is wrong with an assignment's name.
func Check(assignment string) error {
	if !name.MatchString(assignment) {
		return fmt.Errorf("%q is no name for an assignment: use letters, digits, - and _, such as week1", assignment)
	}
	return nil
}

// Write writes an assignment into a course's folder, which is made if it is not there, and returns the files. One that
// is there already is refused. A README that is there stays.
func Write(folder, assignment string, tools Tools) (files []string, err error) {
	if err := Check(assignment); err != nil {
		return nil, err
	}
	dir := filepath.Join(folder, "source", assignment)
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%s is there already: choose another name, or remove it", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text, err := notebook(assignment)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, assignment+".ipynb")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	files = append(files, file)
	beside := filepath.Join(folder, "README.md")
	if _, err := os.Lstat(beside); err == nil {
		return files, nil
	}
	var b bytes.Buffer
	values := map[string]string{"Name": assignment, "Python": tools.Python, "Jupyter": tools.Jupyter}
	if err := template.Must(template.New("").Parse(readme)).Execute(&b, values); err != nil {
		return files, err
	}
	return append(files, beside), os.WriteFile(beside, b.Bytes(), 0o644)
}

// head begins a cell: its type, nbgrader's role for it, its id and its points.
var head = regexp.MustCompile(`(?m)^---- (code|markdown) (plain|locked|solution|graded|manual) (\w+) (\d+)\n`)

// notebook is the assignment as a notebook of format 4.
func notebook(assignmentName string) ([]byte, error) {
	var cells []any
	heads := head.FindAllStringSubmatchIndex(assignment, -1)
	for i, at := range heads {
		word := func(n int) string { return assignment[at[2*n]:at[2*n+1]] }
		end := len(assignment)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		source := string(bytes.TrimRight([]byte(assignment[at[1]:end]), "\n"))
		source = string(bytes.ReplaceAll([]byte(source), []byte("NAME"), []byte(assignmentName)))
		kind, role, id := word(1), word(2), word(3)
		metadata := map[string]any{}
		if role != "plain" {
			grader := map[string]any{"schema_version": 3, "grade_id": id, "cell_type": kind, "task": false,
				"grade": role == "graded" || role == "manual", "solution": role == "solution" || role == "manual",
				"locked": role == "graded" || role == "locked"}
			if role == "graded" || role == "manual" {
				grader["points"] = json.Number(word(4))
			}
			metadata["nbgrader"] = grader
		}
		cell := map[string]any{"id": id, "cell_type": kind, "metadata": metadata, "source": source}
		if kind == "code" {
			cell["execution_count"], cell["outputs"] = nil, []any{}
		}
		cells = append(cells, cell)
	}
	text, err := json.MarshalIndent(map[string]any{"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{
		"kernelspec":    map[string]string{"name": "advlab", "display_name": "Go (advlab)", "language": "go"},
		"language_info": map[string]string{"name": "go"},
	}}, "", " ")
	return append(text, '\n'), err
}
