#!/bin/sh
# Installs what benchmarks/calls.py is measured beside, each in an environment of its own:
#   benchmarks/peers.sh ~/.cache/autodata-peers
# Nothing of it is used by autodata. About 2.6 GB.
set -e
folder=${1:?usage: peers.sh FOLDER}
install() { # NAME REQUIREMENT...
	name=$1 && shift
	[ -e "$folder/$name/installed" ] && return
	python3 -m venv "$folder/$name"
	"$folder/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
	touch "$folder/$name/installed"
}
install autosynth autosynth==0.4.0
install bespokelabs-curator bespokelabs-curator==0.1.31
install data-designer data-designer==0.9.6
install distilabel 'distilabel[openai]==1.5.3' requests # it imports requests without naming it
