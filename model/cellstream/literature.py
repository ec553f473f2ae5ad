"""The papers that a result rests on: how a text cites each of them, and its BibTeX entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper: as a text cites it, author and year; the kind of its BibTeX entry; and the entry's fields."""

    short: str
    kind: str
    fields: dict[str, str]

    def bibtex(self, key: str) -> str:
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in self.fields.items())
        return f"@{self.kind}{{{key},\n{lines}}}\n"


_NIPS = "Advances in Neural Information Processing Systems"

REFERENCES: dict[str, Reference] = {
    "ling2026cellstream": Reference(
        "Ling et al., 2026",
        "inproceedings",
        dict(
            author="Ling, Yue and Zhang, Peiqi and Zhang, Zhenyi and Zhou, Peijie",
            title="{CellStream}: Dynamical Optimal Transport Informed Embeddings for Reconstructing Cellular "
            "Trajectories from Snapshots Data",
            booktitle="Proceedings of the {AAAI} Conference on Artificial Intelligence",
            year="2026",
            eprint="2511.13786",
            archiveprefix="arXiv",
        ),
    ),
    "chizat2018interpolating": Reference(
        "Chizat et al., 2018",
        "article",
        dict(
            author="Chizat, L{\\'e}na{\\\"i}c and Peyr{\\'e}, Gabriel and Schmitzer, Bernhard and Vialard, Fran{\\c "
            "c}ois-Xavier",
            title="An Interpolating Distance Between Optimal Transport and {Fisher--Rao} Metrics",
            journal="Foundations of Computational Mathematics",
            volume="18",
            number="1",
            pages="1--44",
            year="2018",
            doi="10.1007/s10208-016-9331-y",
        ),
    ),
    "chen2018neural": Reference(
        "Chen et al., 2018",
        "inproceedings",
        dict(
            author="Chen, Ricky T. Q. and Rubanova, Yulia and Bettencourt, Jesse and Duvenaud, David",
            title="Neural Ordinary Differential Equations",
            booktitle=_NIPS,
            volume="31",
            year="2018",
            eprint="1806.07366",
            archiveprefix="arXiv",
        ),
    ),
    "kingma2015adam": Reference(
        "Kingma & Ba, 2015",
        "inproceedings",
        dict(
            author="Kingma, Diederik P. and Ba, Jimmy",
            title="{Adam}: A Method for Stochastic Optimization",
            booktitle="International Conference on Learning Representations",
            year="2015",
            eprint="1412.6980",
            archiveprefix="arXiv",
        ),
    ),
    "vandermaaten2008visualizing": Reference(
        "van der Maaten & Hinton, 2008",
        "article",
        dict(
            author="van der Maaten, Laurens and Hinton, Geoffrey",
            title="Visualizing Data using t-{SNE}",
            journal="Journal of Machine Learning Research",
            volume="9",
            pages="2579--2605",
            year="2008",
        ),
    ),
    "policar2024opentsne": Reference(
        "Poličar et al., 2024",
        "article",
        dict(
            author="Poli{\\v c}ar, Pavlin G. and Stra{\\v z}ar, Martin and Zupan, Bla{\\v z}",
            title="{openTSNE}: A Modular {Python} Library for t-{SNE} Dimensionality Reduction and Embedding",
            journal="Journal of Statistical Software",
            volume="109",
            number="3",
            pages="1--30",
            year="2024",
            doi="10.18637/jss.v109.i03",
        ),
    ),
    "schiebinger2019optimal": Reference(
        "Schiebinger et al., 2019",
        "article",
        dict(
            author="Schiebinger, Geoffrey and Shu, Jian and Tabaka, Marcin and Cleary, Brian and Subramanian, Vidya "
            "and Solomon, Aryeh and Gould, Joshua and Liu, Siyan and Lin, Stacie and Berube, Peter and Lee, Lia and "
            "Chen, Jenny and Brumbaugh, Justin and Rigollet, Philippe and Hochedlinger, Konrad and Jaenisch, Rudolf "
            "and Regev, Aviv and Lander, Eric S.",
            title="Optimal-Transport Analysis of Single-Cell Gene Expression Identifies Developmental Trajectories in "
            "Reprogramming",
            journal="Cell",
            volume="176",
            number="4",
            pages="928--943.e22",
            year="2019",
            doi="10.1016/j.cell.2019.01.006",
        ),
    ),
    "efron1979bootstrap": Reference(
        "Efron, 1979",
        "article",
        dict(
            author="Efron, Bradley",
            title="Bootstrap Methods: Another Look at the Jackknife",
            journal="The Annals of Statistics",
            volume="7",
            number="1",
            pages="1--26",
            year="1979",
            doi="10.1214/aos/1176344552",
        ),
    ),
    "venna2001neighborhood": Reference(
        "Venna & Kaski, 2001",
        "inproceedings",
        dict(
            author="Venna, Jarkko and Kaski, Samuel",
            title="Neighborhood Preservation in Nonlinear Projection Methods: An Experimental Study",
            booktitle="Artificial Neural Networks --- {ICANN} 2001",
            series="Lecture Notes in Computer Science",
            volume="2130",
            pages="485--491",
            year="2001",
            doi="10.1007/3-540-44668-0_68",
        ),
    ),
    "paszke2019pytorch": Reference(
        "Paszke et al., 2019",
        "inproceedings",
        dict(
            author="Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and Bradbury, James and Chanan, "
            "Gregory and Killeen, Trevor and Lin, Zeming and Gimelshein, Natalia and Antiga, Luca and Desmaison, Alban "
            'and K{\\"o}pf, Andreas and Yang, Edward and DeVito, Zachary and Raison, Martin and Tejani, Alykhan and '
            "Chilamkurthy, Sasank and Steiner, Benoit and Fang, Lu and Bai, Junjie and Chintala, Soumith",
            title="{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
            booktitle=_NIPS,
            volume="32",
            year="2019",
        ),
    ),
    "flamary2021pot": Reference(
        "Flamary et al., 2021",
        "article",
        dict(
            author="Flamary, R{\\'e}mi and Courty, Nicolas and Gramfort, Alexandre and Alaya, Mokhtar Z. and "
            "Boisbunon, Aur{\\'e}lie and Chambon, Stanislas and Chapel, Laetitia and Corenflos, Adrien and Fatras, "
            "Kilian and Fournier, Nemo and Gautheron, L{\\'e}o and Gayraud, Nathalie T. H. and Janati, Hicham and "
            "Rakotomamonjy, Alain and Redko, Ievgen and Rolet, Antoine and Schutz, Antony and Seguy, Vivien and "
            "Sutherland, Danica J. and Tavenard, Romain and Tong, Alexander and Vayer, Titouan",
            title="{POT}: {Python} Optimal Transport",
            journal="Journal of Machine Learning Research",
            volume="22",
            number="78",
            pages="1--8",
            year="2021",
            url="http://jmlr.org/papers/v22/20-451.html",
        ),
    ),
    "wolf2018scanpy": Reference(
        "Wolf et al., 2018",
        "article",
        dict(
            author="Wolf, F. Alexander and Angerer, Philipp and Theis, Fabian J.",
            title="{SCANPY}: Large-Scale Single-Cell Gene Expression Data Analysis",
            journal="Genome Biology",
            volume="19",
            pages="15",
            year="2018",
            doi="10.1186/s13059-017-1382-0",
        ),
    ),
    "virshup2024anndata": Reference(
        "Virshup et al., 2024",
        "article",
        dict(
            author="Virshup, Isaac and Rybakov, Sergei and Theis, Fabian J. and Angerer, Philipp and Wolf, F. "
            "Alexander",
            title="anndata: Access and Store Annotated Data Matrices",
            journal="Journal of Open Source Software",
            volume="9",
            number="101",
            pages="4371",
            year="2024",
            doi="10.21105/joss.04371",
        ),
    ),
    "sha2024tigon": Reference(
        "Sha et al., 2024",
        "article",
        dict(
            author="Sha, Yutong and Qiu, Yuchi and Zhou, Peijie and Nie, Qing",
            title="Reconstructing Growth and Dynamic Trajectories from Single-Cell Transcriptomics Data",
            journal="Nature Machine Intelligence",
            volume="6",
            number="1",
            pages="25--39",
            year="2024",
            doi="10.1038/s42256-023-00763-w",
        ),
    ),
    "mcinnes2018umap": Reference(
        "McInnes et al., 2018",
        "article",
        dict(
            author="McInnes, Leland and Healy, John and Saul, Nathaniel and Gro{\\ss}berger, Lukas",
            title="{UMAP}: Uniform Manifold Approximation and Projection",
            journal="Journal of Open Source Software",
            volume="3",
            number="29",
            pages="861",
            year="2018",
            doi="10.21105/joss.00861",
        ),
    ),
    "coifman2006diffusion": Reference(
        "Coifman & Lafon, 2006",
        "article",
        dict(
            author="Coifman, Ronald R. and Lafon, St{\\'e}phane",
            title="Diffusion Maps",
            journal="Applied and Computational Harmonic Analysis",
            volume="21",
            number="1",
            pages="5--30",
            year="2006",
            doi="10.1016/j.acha.2006.04.006",
        ),
    ),
    "atta2022veloviz": Reference(
        "Atta et al., 2022",
        "article",
        dict(
            author="Atta, Lyla and Sahoo, Arpan and Fan, Jean",
            title="{VeloViz}: {RNA} Velocity-Informed Embeddings for Visualizing Cellular Trajectories",
            journal="Bioinformatics",
            volume="38",
            number="2",
            pages="391--396",
            year="2022",
            doi="10.1093/bioinformatics/btab653",
        ),
    ),
    "huguet2022mioflow": Reference(
        "Huguet et al., 2022",
        "inproceedings",
        dict(
            author="Huguet, Guillaume and Magruder, Daniel Sumner and Tong, Alexander and Fasina, Oluwadamilola and "
            "Kuchroo, Manik and Wolf, Guy and Krishnaswamy, Smita",
            title="Manifold Interpolating Optimal-Transport Flows for Trajectory Inference",
            booktitle=_NIPS,
            volume="35",
            pages="29705--29718",
            year="2022",
            eprint="2206.14928",
            archiveprefix="arXiv",
        ),
    ),
    "zhang2025deepruot": Reference(
        "Zhang et al., 2025",
        "inproceedings",
        dict(
            author="Zhang, Zhenyi and Li, Tiejun and Zhou, Peijie",
            title="Learning Stochastic Dynamics from Snapshots through Regularized Unbalanced Optimal Transport",
            booktitle="International Conference on Learning Representations",
            year="2025",
            eprint="2410.00844",
            archiveprefix="arXiv",
        ),
    ),
}


def bibtex_of(keys: Iterable[str]) -> str:
    """The entries of these keys of :data:`REFERENCES`, in their order, an empty line between two."""
    return "\n".join(REFERENCES[key].bibtex(key) for key in keys)
